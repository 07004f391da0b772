#include "ddpm/serve/server.h"

#include "ddpm/io/file.h"
#include "tests/io/temporary_folder.h"
#include "tests/serve/fixture.h"

#include <future>
#include <vector>

namespace ddpm::serve {
namespace {

using Json = nlohmann::json;

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

TEST_F(Serve, AWayAndAnInpaintingAreJobsOfTheSameQueue) {
  start();
  const auto posted = [&](const char* path, const std::string& body) {
    const auto res = client().Post(path, body, "application/json");
    EXPECT_EQ(res->status, 202) << res->body;
    return res->get_header_value("Location");
  };
  const Json way =
      wait_for(posted("/v1/interpolations", R"({"between":[0,1],"frames":3})"), "done");
  EXPECT_EQ(way["command"], "interpolate");
  EXPECT_EQ(way["images"].size(), 3u);
  EXPECT_EQ(way["inputs"], Json::array());
  const std::string path = posted("/v1/inpaintings", R"({"image":"Zm9v","mask":"Zg==","num":1})");
  const Json redrawn = wait_for(path, "done");
  EXPECT_EQ(redrawn["command"], "inpaint");
  EXPECT_EQ(redrawn["inputs"],
            Json({{{"name", "image-00.png"}, {"url", path + "/inputs/image-00.png"}},
                  {{"name", "mask-00.png"}, {"url", path + "/inputs/mask-00.png"}}}));
  EXPECT_EQ(client().Get(path + "/inputs/image-00.png")->body, "foo");
  EXPECT_EQ(client().Get(path + "/inputs/mask-00.png")->get_header_value("Content-Type"),
            "image/png");
  expect_refused(client().Get(path + "/inputs/image-01.png"), 404, "no such picture");
  EXPECT_EQ(wait_for(job(), "done")["command"], "sample");
  expect_refused(client().Post("/v1/interpolations", "{}", "application/json"), 400, "between");
  expect_refused(client().Post("/v1/inpaintings", "{}", "application/json"), 400, "image");
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
