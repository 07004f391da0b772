#include "tests/cli/serve_fixture.h"

#include <csignal>

namespace ddpm {
namespace {

using Json = nlohmann::json;

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
    const auto picture = served(job["images"][static_cast<size_t>(i)]);
    const auto own = io::read_file(folder_ / "pictures" / ("00000" + std::to_string(i) + ".png"));
    EXPECT_EQ(pixels(picture), pixels(own)) << i;
    const auto note = [](const std::vector<uint8_t>& png) {
      for (const io::PngText& text : io::png_texts(png, "picture"))
        if (text.keyword == "ddpm") return Json::parse(text.text);
      return Json();
    };
    EXPECT_EQ(note(picture)["settings"], note(own)["settings"]);
    EXPECT_EQ(note(picture)["class"], note(own)["class"]);
    EXPECT_EQ(note(picture)["settings"]["seed"], job["settings"]["seed"]);
  }
}

TEST_F(ServeCommand, APictureIsMadeAgainByItsCommand) {
  start();
  const Json job = finished(R"({"method":"auto","steps":4,"seed":3,"num":4,"class":"1"})");
  ASSERT_EQ(job["state"], "done") << job;
  const auto picture = served(job["images"][2]);
  io::write_file_synced(folder_ / "served.png", std::span<const uint8_t>(picture));
  const Json note = Json::parse(run({"info", "served.png", "--json"}).out);
  std::vector<std::string> words = note.at("arguments");
  words.insert(words.end(), {"--out", "again"});
  const ProgramResult again = run(words);
  ASSERT_EQ(again.status, 0) << again.err;
  EXPECT_EQ(written("again", 2), pixels(picture));
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
  EXPECT_NE(refused(R"({"method":"bespoke","steps":4})").find("method bespoke and 4 steps"),
            std::string::npos);
  EXPECT_EQ(Json::parse(client().Get("/v1/model")->body)["network"]["timesteps"], 20);
  EXPECT_EQ(Json::parse(client().Get("/v1/run")->body)["state"], "finished");
}

TEST_F(ServeCommand, EndsGracefullyWhileItSamples) {
  start();
  client().Post("/v1/samples", R"({"num":64})", "application/json");
  program_->send(SIGINT);
  const ProgramResult result = program_->wait();
  EXPECT_EQ(result.status, 0);
  EXPECT_NE(
      result.err.find("ddpm: stopping; open jobs are cancelled; Ctrl-C again (after 1 s) ends "
                      "at once\n"),
      std::string::npos)
      << result.err;
}

TEST_F(ServeCommand, RefusesAnOpenAddressAndWhatIsNoNetwork) {
  expect_error({"serve", "runs/tiny", "--host", "0.0.0.0", "--port", "0"}, 2,
               "a token is needed; set DDPM_SERVE_TOKEN");
  expect_error({"serve", "none"}, 2, "none does not exist");
  expect_error({"serve", "runs/tiny", "--port", "70000"}, 2, "--port");
}

}  // namespace
}  // namespace ddpm
