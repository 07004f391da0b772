#include "ddpm/io/file.h"
#include "tests/io/temporary_folder.h"
#include "tests/serve/fixture.h"

#include <algorithm>
#include <future>
#include <string>
#include <vector>

namespace ddpm::serve {
namespace {

constexpr const char* kToken = "a-token-of-the-tests";

TEST_F(Serve, RefusesWhatIsNoRequest) {
  start({.max_images = 5});
  expect_refused(post(R"({"num":6})"), 400, "num: must be a whole number from 1 to 5, not 6");
  expect_refused(post(R"({"guidance":2})"), 400, "label_dropout");
  expect_refused(post("{"), 400, "not JSON");
  expect_refused(client().Post("/v1/samples", "{}", "text/plain"), 415, "Content-Type");
  expect_refused(client().Get("/v1/jobs/0123456789abcdef"), 404, "no such job");
  expect_refused(client().Get("/v1/run"), 404, "no run");
  EXPECT_EQ(state_.runs, 0);
}

// The limits, also where the client does not say how long its body is.
TEST_F(Serve, ABodyThatIsTooLargeIsRefusedAndForgotten) {
  start({.token = kToken});
  const auto sent = [&](const char* path, size_t size, bool chunked) {
    httplib::Client one = client();
    one.set_bearer_token_auth(kToken);
    const std::string body(size, ' ');
    if (!chunked) return one.Post(path, body, "application/json");
    return one.Post(
        path,
        [&](size_t at, httplib::DataSink& sink) {
          const size_t part = std::min<size_t>(1 << 16, body.size() - at);
          if (part == 0) sink.done();
          return part == 0 || sink.write(body.data() + at, part);
        },
        "application/json");
  };
  constexpr size_t kMost = 8 << 20;
  for (const bool chunked : {false, true})
    for (const char* path : {"/v1/samples", "/v1/interpolations", "/v1/inpaintings"}) {
      expect_refused(sent(path, kMost, chunked), 400, "not JSON");
      expect_refused(sent(path, kMost + 1, chunked), 413, "larger than 8388608 bytes");
    }
  expect_refused(sent("/v1/login", 65536, false), 400, "missing");
  for (const bool chunked : {false, true})
    expect_refused(sent("/v1/login", 65537, chunked), 413, "larger than 65536 bytes");
  expect_refused(client().Post("/v1/samples", std::string(kMost, ' '), "application/json"), 401,
                 "a token is needed");
  expect_refused(sent("/v1/none", 70'000, false), 413, "larger than");
  EXPECT_EQ(state_.runs, 0);
}

// A page of another origin writes a request of this server's own pages into a body. The server must
// not take it for the next request of the connection.
TEST_F(Serve, TheBodyOfARefusedRequestIsNoRequest) {
  start();
  const std::string own =
      "POST /v1/samples HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
      "Content-Length: 2\r\n\r\n{}";
  for (const char* method : {"POST", "PUT", "GET"})
    for (const char* path : {"/v1/samples", "/v1/login", "/v1/none", "/"}) {
      // The library drops what it has read with the headers, up to 4096 bytes.
      const std::string body = std::string(4096, ' ') + own;
      const std::string answer =
          raw(std::string(method) + " " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" +
              "Origin: http://evil.com\r\nContent-Type: text/plain\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\n\r\n" + body);
      EXPECT_TRUE(answer.starts_with("HTTP/1.1 4")) << method << " " << path << ": " << answer;
    }
  EXPECT_EQ(json_of("/v1/jobs")["jobs"].size(), 0u);
  EXPECT_EQ(state_.runs, 0);
  expect_refused(client().Post("/v1/samples", httplib::MultipartFormDataItems{{"a", "b", "", ""}}),
                 415, "Content-Type");
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
  for (const char* path :
       {"/", "/page.js", "/region.js", "/base.css", "/chart.js", "/v1/model", "/none"}) {
    const auto res = client().Get(path);
    EXPECT_EQ(res->get_header_value("X-Content-Type-Options"), "nosniff") << path;
    const std::string policy = res->get_header_value("Content-Security-Policy");
    EXPECT_NE(policy.find("default-src 'none'"), std::string::npos) << path;
    EXPECT_EQ(policy.find("unsafe"), std::string::npos) << path;
  }
  const std::string page = client().Get("/")->body;
  size_t scripts = 0;
  for (size_t at = 0; (at = page.find("<script src=\"", at)) != std::string::npos; ++scripts) {
    at += 13;
    const std::string path = page.substr(at, page.find('"', at) - at);
    EXPECT_EQ(client().Get(path)->status, 200) << path;
  }
  EXPECT_EQ(scripts, 9u);
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

}  // namespace
}  // namespace ddpm::serve
