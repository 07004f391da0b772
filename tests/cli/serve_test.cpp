#include "ddpm/io/image.h"
#include "ddpm/io/png_text.h"
#include "tests/cli/fixture.h"

#include <chrono>
#include <csignal>
#include <memory>
#include <thread>

#include <ddpm_httplib.h>
#include <nlohmann/json.hpp>

namespace ddpm {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// The program with a tiny run, at a free port.
class ServeCommand : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    train("runs/tiny", {"--set", "model.class_conditional=true"});
  }
  void start(std::vector<std::string> flags = {}) {
    flags.insert(flags.begin(), {"serve", "runs/tiny", "--port", "0"});
    program_ = std::make_unique<Program>(folder_.path(), flags);
    ASSERT_TRUE(program_->wait_for_message("open this address"));
    // Of the programs' outputs, the one that is an address.
    for (int i = 0; i < 1000 && url_.empty(); ++i) {
      for (const auto& entry : fs::directory_iterator(folder_.path()))
        if (entry.path().filename().string().starts_with("out-"))
          if (const std::string text = io::read_text(entry.path()); text.starts_with("http://"))
            url_ = text.substr(0, text.find_last_of('/'));
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ASSERT_FALSE(url_.empty());
  }
  httplib::Client client() const { return httplib::Client(url_); }
  Json finished(const std::string& body) const {
    auto res = client().Post("/v1/samples", body, "application/json");
    EXPECT_EQ(res->status, 202) << res->body;
    const std::string path = res->get_header_value("Location");
    for (int i = 0; i < 2000; ++i) {
      const Json job = Json::parse(client().Get(path)->body);
      if (job["state"] != "queued" && job["state"] != "running") return job;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return {};
  }
  std::string refused(const std::string& body) const {
    const auto res = client().Post("/v1/samples", body, "application/json");
    EXPECT_EQ(res->status, 400) << res->body;
    return Json::parse(res->body).at("error");
  }
  static std::vector<uint8_t> bytes(const std::string& text) { return {text.begin(), text.end()}; }

  std::unique_ptr<Program> program_;
  std::string url_;
};

// Two batches, noise and classes. The whole files: the note in a picture names the same command.
TEST_F(ServeCommand, SamplesTheSamePicturesAsDdpmSample) {
  start();
  const Json job = finished(
      R"({"method":"ddim","steps":5,"eta":0.5,"seed":7,"num":5,"class":[1,0],"previews":3})");
  ASSERT_EQ(job["state"], "done") << job;
  ASSERT_EQ(job["images"].size(), 5u);
  const ProgramResult sampled =
      run({"sample", "--ckpt", "runs/tiny", "--method", "ddim", "--steps", "5", "--eta", "0.5",
           "--class", "#1,#0", "--seed", "7", "--num", "5", "--out", "pictures"});
  ASSERT_EQ(sampled.status, 0) << sampled.err;
  for (int64_t i = 0; i < 5; ++i) {
    const auto served = bytes(client().Get(job["images"][static_cast<size_t>(i)])->body);
    const auto own = io::read_file(folder_ / "pictures" / ("00000" + std::to_string(i) + ".png"));
    EXPECT_EQ(io::decode_image(served, "served").pixels, io::decode_image(own, "own").pixels) << i;
    const auto note = [](const std::vector<uint8_t>& png) {
      for (const io::PngText& text : io::png_texts(png, "picture"))
        if (text.keyword == "ddpm") return Json::parse(text.text);
      return Json();
    };
    EXPECT_EQ(note(served)["settings"], note(own)["settings"]);
    EXPECT_EQ(note(served)["class"], note(own)["class"]);
    EXPECT_EQ(note(served)["settings"]["seed"], job["settings"]["seed"]);
  }
}

TEST_F(ServeCommand, APictureIsMadeAgainByItsCommand) {
  start();
  const Json job = finished(R"({"method":"auto","steps":4,"seed":3,"num":4,"class":"1"})");
  ASSERT_EQ(job["state"], "done") << job;
  const auto served = bytes(client().Get(job["images"][2])->body);
  io::write_file_synced(folder_ / "served.png", std::span<const uint8_t>(served));
  const Json note = Json::parse(run({"info", "served.png", "--json"}).out);
  std::vector<std::string> words = note.at("arguments");
  words.insert(words.end(), {"--out", "again"});
  const ProgramResult again = run(words);
  ASSERT_EQ(again.status, 0) << again.err;
  EXPECT_EQ(io::decode_image(io::read_file(folder_ / "again/000002.png"), "again").pixels,
            io::decode_image(served, "served").pixels);
}

TEST_F(ServeCommand, RefusesWhatTheNetworkCannotDo) {
  start({"--max-images", "8"});
  EXPECT_EQ(refused(R"({"steps":21})").find("steps "), 0u) << "T = 20";
  EXPECT_NE(refused(R"({"method":"dim"})").find("method: is dim; must be one of"),
            std::string::npos);
  EXPECT_NE(refused(R"({"guidance":2})").find("guidance 2 needs a network trained"),
            std::string::npos);
  EXPECT_NE(refused(R"({"class":99})").find("99"), std::string::npos);
  EXPECT_NE(refused(R"({"method":"ddpm","eta":0.5})").find("DDIM"), std::string::npos);
  EXPECT_NE(refused(R"({"num":9})").find("from 1 to 8"), std::string::npos);
  EXPECT_NE(refused(R"({"sigma":"analytic"})").find("ddpm estimate"), std::string::npos);
  EXPECT_EQ(Json::parse(client().Get("/v1/model")->body)["network"]["timesteps"], 20);
  EXPECT_EQ(Json::parse(client().Get("/v1/run")->body)["state"], "finished");
}

TEST_F(ServeCommand, EndsGracefullyWhileItSamples) {
  start();
  client().Post("/v1/samples", R"({"num":64})", "application/json");
  program_->send(SIGTERM);
  EXPECT_EQ(program_->wait().status, 0);
}

TEST_F(ServeCommand, RefusesAnOpenAddressAndWhatIsNoNetwork) {
  expect_error({"serve", "runs/tiny", "--host", "0.0.0.0", "--port", "0"}, 2,
               "a token is needed; set DDPM_SERVE_TOKEN");
  expect_error({"serve", "none"}, 2, "none does not exist");
  expect_error({"serve", "runs/tiny", "--port", "70000"}, 2, "--port");
}

}  // namespace
}  // namespace ddpm
