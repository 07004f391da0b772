#pragma once

#include "ddpm/io/image.h"
#include "ddpm/io/png.h"
#include "tests/cli/fixture.h"

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <ddpm_httplib.h>
#include <nlohmann/json.hpp>

namespace ddpm {

/// The program with a tiny run, at a free port.
class ServeCommand : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    train("runs/tiny", {"--set", "model.class_conditional=true"});
  }
  void start(std::vector<std::string> flags = {}) {
    flags.insert(flags.begin(), {"serve", source_, "--port", "0"});
    program_ = std::make_unique<Program>(folder_.path(), flags);
    ASSERT_TRUE(program_->wait_for_message("open this address"));
    // Of the programs' outputs, the one that is an address.
    for (int i = 0; i < 1000 && url_.empty(); ++i) {
      for (const auto& entry : std::filesystem::directory_iterator(folder_.path()))
        if (entry.path().filename().string().starts_with("out-"))
          if (const std::string text = io::read_text(entry.path()); text.starts_with("http://"))
            url_ = text.substr(0, text.find_last_of('/'));
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ASSERT_FALSE(url_.empty());
  }
  httplib::Client client() const { return httplib::Client(url_); }
  /// A job that has ended. `what`: the path below /v1.
  nlohmann::json finished(const std::string& body, const std::string& what = "samples") const {
    auto res = client().Post("/v1/" + what, body, "application/json");
    EXPECT_EQ(res->status, 202) << res->body;
    const std::string path = res->get_header_value("Location");
    for (int i = 0; i < 2000; ++i) {
      const nlohmann::json job = nlohmann::json::parse(client().Get(path)->body);
      if (job["state"] != "queued" && job["state"] != "running") return job;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return {};
  }
  /// The message of a refusal.
  std::string refused(const std::string& body, const std::string& what = "samples") const {
    const auto res = client().Post("/v1/" + what, body, "application/json");
    EXPECT_EQ(res->status, 400) << res->body;
    return nlohmann::json::parse(res->body).at("error");
  }
  static std::vector<uint8_t> bytes(const std::string& text) { return {text.begin(), text.end()}; }
  std::vector<uint8_t> served(const nlohmann::json& url) const {
    return bytes(client().Get(url.get<std::string>())->body);
  }
  static std::vector<uint8_t> pixels(const std::vector<uint8_t>& png) {
    return io::decode_image(png, "picture").pixels;
  }
  /// The pixels of image i that a command wrote into a folder.
  std::vector<uint8_t> written(const std::string& folder, size_t i) const {
    return pixels(io::read_file(folder_ / folder / ("00000" + std::to_string(i) + ".png")));
  }

  std::string source_ = "runs/tiny";
  std::unique_ptr<Program> program_;
  std::string url_;
};

}  // namespace ddpm
