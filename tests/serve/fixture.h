#pragma once

#include "ddpm/serve/server.h"
#include "tests/serve/fake_painter.h"

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include <ddpm_httplib.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <unistd.h>

namespace ddpm::serve {

/// A server on a free port of 127.0.0.1, with a fake network.
class Serve : public testing::Test {
 protected:
  void start(ServerOptions options = {}, const std::filesystem::path& run = {}) {
    options.port = 0;
    server_ = std::make_unique<Server>(options, std::make_unique<FakePainter>(state_), run);
    server_->start();
  }
  httplib::Client client() const {
    httplib::Client client("127.0.0.1", server_->port());
    client.set_read_timeout(20);
    return client;
  }
  httplib::Result post(const std::string& body) const {
    return client().Post("/v1/samples", body, "application/json");
  }
  /// Adds a job and returns its address.
  std::string job(const std::string& body = "{}") const {
    const auto res = post(body);
    EXPECT_EQ(res->status, 202) << res->body;
    return res->get_header_value("Location");
  }
  nlohmann::json json_of(const std::string& path) const {
    const auto res = client().Get(path);
    EXPECT_EQ(res->status, 200) << path << ": " << res->body;
    return nlohmann::json::parse(res->body);
  }
  nlohmann::json wait_for(const std::string& job, const std::string& state) const {
    nlohmann::json json;
    for (int i = 0; i < 1000; ++i) {
      json = json_of(job);
      if (json["state"] == state) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_EQ(json["state"], state) << json;
    return json;
  }
  void expect_refused(const httplib::Result& res, int status, const std::string& text) const {
    ASSERT_TRUE(res) << httplib::to_string(res.error());
    EXPECT_EQ(res->status, status) << res->body;
    EXPECT_EQ(res->get_header_value("Content-Type"), "application/json");
    const std::string message = nlohmann::json::parse(res->body).at("error");
    EXPECT_NE(message.find(text), std::string::npos) << message;
  }
  /// The answer to these bytes, up to the end of the connection.
  std::string raw(const std::string& bytes) const {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(server_->port()));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
    EXPECT_EQ(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
    timeval most{};
    most.tv_sec = 8;  // longer than the server waits for the rest of a request
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
    std::string answer(4096, '\0');
    size_t size = 0;
    for (ssize_t n = 0; size < answer.size() &&
                        (n = ::recv(fd, answer.data() + size, answer.size() - size, 0)) > 0;)
      size += static_cast<size_t>(n);
    ::close(fd);
    return answer.substr(0, size);
  }

  FakeState state_;
  std::unique_ptr<Server> server_;
};

}  // namespace ddpm::serve
