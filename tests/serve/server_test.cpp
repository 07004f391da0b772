#include "ddpm/serve/server.h"

#include "ddpm/io/file.h"
#include "tests/io/temporary_folder.h"
#include "tests/serve/fake_painter.h"

#include <functional>
#include <future>
#include <set>
#include <vector>

#include <ddpm_httplib.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <unistd.h>

namespace ddpm::serve {
namespace {

using Json = nlohmann::json;

constexpr const char* kToken = "a-token-of-the-tests";

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
  Json json_of(const std::string& path) const {
    const auto res = client().Get(path);
    EXPECT_EQ(res->status, 200) << path << ": " << res->body;
    return Json::parse(res->body);
  }
  Json wait_for(const std::string& job, const std::string& state) const {
    Json json;
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
    const std::string message = Json::parse(res->body).at("error");
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

TEST_F(Serve, SamplesAndSendsThePictures) {
  start();
  const std::string path = job(R"({"seed":7,"num":2})");
  const Json done = wait_for(path, "done");
  EXPECT_EQ(done["settings"]["seed"], 7);
  EXPECT_EQ(done["images"], Json({path + "/images/0.png", path + "/images/1.png"}));
  const auto picture = client().Get(path + "/images/1.png");
  EXPECT_EQ(picture->status, 200);
  EXPECT_EQ(picture->body, "7:1");
  EXPECT_EQ(picture->get_header_value("Content-Type"), "image/png");
  EXPECT_EQ(picture->get_header_value_count("Cache-Control"), 1u);
  expect_refused(client().Get(path + "/images/2.png"), 404, "no such picture");
  EXPECT_EQ(json_of("/v1/jobs")["jobs"].size(), 1u);
}

TEST_F(Serve, TheEventsLeadToTheEnd) {
  start();
  state_.closed = true;
  const std::string path = job(R"({"num":1,"steps":5})");
  std::string text;
  auto events = std::async(std::launch::async, [&] {
    return client().Get(path + "/events", [&](const char* data, size_t size) {
      text.append(data, size);
      if (text.find("\"running\"") != std::string::npos) state_.closed = false;
      return true;
    });
  });
  const auto res = events.get();
  ASSERT_TRUE(res);
  EXPECT_EQ(res->get_header_value("Content-Type"), "text/event-stream");
  EXPECT_TRUE(text.starts_with("event: job\ndata: {")) << text;
  EXPECT_TRUE(text.ends_with("}\n\n"));
  const size_t last = text.rfind("data: ") + 6;
  const Json json = Json::parse(text.substr(last));
  EXPECT_EQ(json["state"], "done");
  EXPECT_EQ(json["images"].size(), 1u);
}

TEST_F(Serve, ShowsAPreviewOnTheWay) {
  start();
  state_.closed = true;
  const std::string path = job();
  Json json = wait_for(path, "running");
  state_.closed = false;
  EXPECT_FALSE(json.contains("preview"));
  expect_refused(client().Get(path + "/preview.png"), 404, "no such picture");
  json = wait_for(path, "done");
  EXPECT_FALSE(json.contains("preview")) << "the images have taken its place";
  EXPECT_EQ(client().Get(path + "/preview.png")->body, "p") << "a page may ask for it late";
}

TEST_F(Serve, AJobIsCancelledBetweenSteps) {
  start();
  state_.closed = true;
  const std::string running = job(), waiting = job();
  wait_for(running, "running");
  EXPECT_EQ(client().Delete(waiting)->status, 200);
  EXPECT_EQ(json_of(waiting)["state"], "cancelled") << "at once";
  EXPECT_EQ(client().Delete(running)->status, 200);
  wait_for(running, "cancelled");
  state_.closed = false;
  wait_for(job(), "done");
  EXPECT_EQ(state_.runs, 2) << "the one that waited never ran";
}

TEST_F(Serve, AFailureIsTold) {
  start();
  const Json json = wait_for(job(R"({"eta":0.5})"), "failed");
  EXPECT_EQ(json["error"], "the network's numbers overflowed");
  wait_for(job(), "done");
}

TEST_F(Serve, TheQueueIsBounded) {
  start({.queue = 2});
  state_.closed = true;
  wait_for(job(), "running");
  const std::string second = job();
  job();
  const auto res = post("{}");
  expect_refused(res, 429, "2 jobs wait already");
  EXPECT_EQ(res->get_header_value("Retry-After"), "5");
  client().Delete(second);
  job();  // there is room again
  state_.closed = false;
}

TEST_F(Serve, RefusesWhatIsNoRequest) {
  start({.max_images = 5});
  expect_refused(post(R"({"num":6})"), 400, "num: must be a whole number from 1 to 5, not 6");
  expect_refused(post(R"({"guidance":2})"), 400, "label_dropout");
  expect_refused(post("{"), 400, "not JSON");
  expect_refused(client().Post("/v1/samples", "{}", "text/plain"), 415, "Content-Type");
  expect_refused(client().Post("/v1/samples", std::string(70'000, ' '), "application/json"), 413,
                 "larger than 65536 bytes");
  expect_refused(client().Get("/v1/jobs/0123456789abcdef"), 404, "no such job");
  expect_refused(client().Get("/v1/run"), 404, "no run");
  EXPECT_EQ(state_.runs, 0);
}

TEST_F(Serve, MalformedRequestsAreAnsweredAndDoNoHarm) {
  start();
  const std::string host = "Host: 127.0.0.1\r\n";
  const std::vector<std::string> cases{
      std::string("x\r\n\r\n"),
      std::string("GET\r\n\r\n"),
      std::string("GET / HTTP/9.9\r\n\r\n"),
      "GET /" + std::string(9000, 'a') + " HTTP/1.1\r\n" + host + "\r\n",
      "GET / HTTP/1.1\r\nA: " + std::string(9000, 'a') + "\r\n\r\n",
      "POST /v1/samples HTTP/1.1\r\n" + host + "Content-Length: abc\r\n\r\n{}",
      "POST /v1/samples HTTP/1.1\r\n" + host +
          "Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{}",
      std::string(3, '\0'),
      std::string("\x16\x03\x01\x02\x00\x01\x00", 7)};
  std::vector<std::future<std::string>> answers;  // at once: some wait for the server's patience
  for (const std::string& bytes : cases)
    answers.push_back(std::async(std::launch::async, [&] { return raw(bytes); }));
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::string answer = answers[i].get();
    const bool has_line = cases[i].find('\n') != std::string::npos;  // else there is no request
    EXPECT_TRUE(has_line ? answer.starts_with("HTTP/1.1 4") : answer.empty())
        << cases[i].substr(0, 60) << " -> " << answer;
  }
  EXPECT_NE(raw("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").find(" 403 "), std::string::npos)
      << "no Host";
  EXPECT_EQ(json_of("/v1/health")["ok"], true);
  EXPECT_EQ(state_.runs, 0);
}

TEST_F(Serve, NoPathLeadsOutside) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "run/samples");
  io::write_file_synced(folder / "run/samples/step-000000001-raw.png",
                        std::string_view("\x89PNG\r\n\x1a\n"));
  io::write_file_synced(folder / "secret.png", std::string_view("\x89PNG\r\n\x1a\n"));
  start({}, folder / "run");
  EXPECT_EQ(client().Get("/v1/run/grids/step-000000001-raw.png")->status, 200);
  for (const char* path :
       {"/v1/run/grids/../../secret.png", "/v1/run/grids/..%2f..%2fsecret.png",
        "/v1/run/grids/%2e%2e/%2e%2e/secret.png", "/v1/run/grids/secret.png", "/v1/run/grids/..",
        "/../../etc/passwd", "/etc/passwd", "/page.js/../../etc/passwd", "/v1/jobs/../run",
        "/v1/run/grids/step-000000001-raw.png%00.txt"}) {
    const auto res = client().Get(path);
    ASSERT_TRUE(res) << path;
    EXPECT_EQ(res->status, 404) << path;
  }
}

TEST_F(Serve, PagesOfOthersMayNotAsk) {
  start();
  const httplib::Headers rebound{{"Host", "evil.com"}};
  expect_refused(client().Get("/v1/model", rebound), 403, "does not belong to the server");
  const httplib::Headers foreign{{"Origin", "http://evil.com"}};
  expect_refused(client().Post("/v1/samples", foreign, "{}", "application/json"), 403,
                 "pages of other servers");
  const auto res = client().Options("/v1/samples", foreign);
  EXPECT_GE(res->status, 400);
  for (const auto& [name, value] : res->headers)
    EXPECT_EQ(name.find("Access-Control"), std::string::npos) << "no CORS";
}

TEST_F(Serve, EveryAnswerIsGuarded) {
  start();
  for (const char* path : {"/", "/page.js", "/base.css", "/chart.js", "/v1/model", "/none"}) {
    const auto res = client().Get(path);
    EXPECT_EQ(res->get_header_value("X-Content-Type-Options"), "nosniff") << path;
    const std::string policy = res->get_header_value("Content-Security-Policy");
    EXPECT_NE(policy.find("default-src 'none'"), std::string::npos) << path;
    EXPECT_EQ(policy.find("unsafe"), std::string::npos) << path;
  }
  const std::string page = client().Get("/")->body;
  EXPECT_EQ(page.find("<style"), std::string::npos) << "the policy would refuse it";
  EXPECT_EQ(page.find(" style="), std::string::npos);
}

TEST_F(Serve, WithoutTheTokenNothingIsShown) {
  start({.token = kToken});
  EXPECT_EQ(client().Get("/")->status, 200) << "the form to log in";
  EXPECT_EQ(client().Get("/v1/health")->status, 200);
  for (const char* path : {"/v1/model", "/v1/jobs", "/v1/run", "/v1/jobs/0123456789abcdef/events"})
    expect_refused(client().Get(path), 401, "a token is needed");
  expect_refused(post("{}"), 401, "a token is needed");
  httplib::Client right = client();
  right.set_bearer_token_auth(kToken);
  EXPECT_EQ(right.Get("/v1/model")->status, 200);
  httplib::Client wrong = client();
  wrong.set_bearer_token_auth(std::string(kToken) + "x");
  expect_refused(wrong.Get("/v1/model"), 401, "a token is needed");
}

TEST_F(Serve, ALoginLastsByACookieThatScriptsDoNotSee) {
  start({.token = kToken});
  expect_refused(client().Post("/v1/login", R"({"token":"no"})", "application/json"), 401,
                 "not the token");
  expect_refused(client().Post("/v1/login", "5", "application/json"), 400, "missing");
  const auto res =
      client().Post("/v1/login", std::string(R"({"token":")") + kToken + "\"}", "application/json");
  ASSERT_EQ(res->status, 200);
  const std::string cookie = res->get_header_value("Set-Cookie");
  EXPECT_NE(cookie.find("HttpOnly; SameSite=Strict"), std::string::npos) << cookie;
  const httplib::Headers headers{{"Cookie", cookie.substr(0, cookie.find(';'))}};
  EXPECT_EQ(client().Get("/v1/model", headers)->status, 200);
}

// A job each, with its events; the queue refuses what it cannot hold, and they come again.
TEST_F(Serve, FiftyClientsAtOnce) {
  start({.queue = 20});
  std::vector<std::future<std::string>> clients;
  for (int i = 0; i < 50; ++i)
    clients.push_back(std::async(std::launch::async, [this, i] {
      const std::string body = "{\"num\":1,\"seed\":" + std::to_string(i) + "}";
      for (int attempt = 0; attempt < 500; ++attempt) {
        const auto res = post(body);
        if (res && res->status == 202) {
          const std::string path = res->get_header_value("Location");
          client().Get(path + "/events", [](const char*, size_t) { return true; });
          return client().Get(path + "/images/0.png")->body;
        }
        if (!res || res->status != 429) return std::string("refused");
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
      return std::string("never accepted");
    }));
  for (int i = 0; i < 50; ++i)
    EXPECT_EQ(clients[static_cast<size_t>(i)].get(), std::to_string(i) + ":0");
  EXPECT_EQ(state_.most_at_once, 1) << "one at a time";
  EXPECT_EQ(state_.runs, 50);
}

// Streams that stay open leave room for others, and a stop ends them.
TEST_F(Serve, OpenStreamsDoNotBlockOthersOrTheEnd) {
  start();
  state_.closed = true;
  const std::string path = job();
  std::vector<std::future<int>> streams;
  for (int i = 0; i < 70; ++i)
    streams.push_back(std::async(std::launch::async, [&] {
      const auto res = client().Get(path + "/events", [](const char*, size_t) { return true; });
      return res ? res->status : 0;
    }));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(json_of("/v1/health")["ok"], true);
  const auto begin = std::chrono::steady_clock::now();
  server_->stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(8));
  int64_t refused = 0;
  for (auto& stream : streams) refused += stream.get() == 503 ? 1 : 0;
  EXPECT_EQ(refused, 6) << "64 at most";
}

TEST_F(Serve, WatchesARun) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "checkpoints");
  io::write_file_synced(folder / "config.toml", std::string_view("[train]\nsteps = 10\n"));
  io::write_file_synced(folder / "metrics.jsonl", std::string_view("{\"step\":1,\"loss\":0.5}\n"));
  start({}, folder.path());
  EXPECT_EQ(json_of("/v1/run")["step"], 1);
  EXPECT_EQ(json_of("/v1/run")["metrics"]["loss"], Json({0.5}));
  std::string text;
  client().Get("/v1/run/events", [&](const char* data, size_t size) {
    const bool first = text.empty();
    text.append(data, size);
    if (first)
      io::write_file_synced(
          folder / "metrics.jsonl",
          std::string_view("{\"step\":1,\"loss\":0.5}\n{\"step\":5,\"loss\":0.25}\n"));
    return text.find("\"step\":5") == std::string::npos;  // then it hangs up
  });
  EXPECT_NE(text.find("event: run\ndata: {"), std::string::npos) << text;
  EXPECT_EQ(json_of("/v1/run")["steps"], 10);
  EXPECT_EQ(json_of("/v1/run")["metrics"]["loss"], Json({0.5, 0.25}));
}

TEST_F(Serve, ARunIsWatchedBeforeItHasANetwork) {
  const TemporaryFolder folder;
  state_.has_network = false;
  start({}, folder.path());
  EXPECT_EQ(json_of("/v1/model")["network"], nullptr);
  EXPECT_EQ(json_of("/v1/run")["state"], "unknown");
  EXPECT_EQ(json_of("/v1/run")["warnings"].size(), 1u);
  expect_refused(post("{}"), 409, "no checkpoint yet");
  state_.has_network = true;  // the training has saved one
  wait_for(job(), "done");
}

TEST_F(Serve, ATakenPortIsNamed) {
  start();
  Server second({.port = server_->port()}, nullptr, "");
  try {
    second.start();
    FAIL() << "two servers on one port";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("choose another --port"), std::string::npos);
  }
}

}  // namespace
}  // namespace ddpm::serve
