#include "ddpm/base/signals.h"
#include "ddpm/io/image.h"
#include "tests/cli/fixture.h"
#include "tests/dist/free_port.h"
#include "tests/io/fixtures.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <signal.h>
#include <torch/csrc/jit/api/module.h>

namespace ddpm {
namespace {

class Eval : public CliTest {
 protected:
  // What rank 0 of several processes prints; expects that all succeed and the others say nothing.
  std::string out_of_ranks(int count, const std::vector<std::string>& arguments) {
    const std::string port = std::to_string(free_port()), size = std::to_string(count);
    std::vector<std::unique_ptr<Program>> ranks;
    for (int i = 0; i < count; ++i) {
      const std::string rank = std::to_string(i);
      ranks.push_back(std::make_unique<Program>(
          folder_.path(), arguments,
          std::vector<std::string>{"RANK=" + rank, "WORLD_SIZE=" + size, "LOCAL_RANK=" + rank,
                                   "LOCAL_WORLD_SIZE=" + size, "MASTER_ADDR=127.0.0.1",
                                   "MASTER_PORT=" + port}));
    }
    std::vector<ProgramResult> results;
    for (const auto& rank : ranks) results.push_back(rank->wait());
    for (int i = 0; i < count; ++i) {
      EXPECT_EQ(results[i].status, 0) << "rank " << i << ": " << results[i].err;
      if (i == 0) continue;
      EXPECT_EQ(results[i].out, "") << "rank 0 speaks for all";
      EXPECT_EQ(results[i].err, "") << "rank 0 speaks for all";
    }
    return results[0].out;
  }

  void SetUp() override {
    CliTest::SetUp();
    train("runs/tiny", {"--set", "train.steps=4", "--set", "model.class_conditional=true"});
  }
  // Runs `ddpm eval` with its cache in the test's folder; the last line of its JSON.
  nlohmann::json eval(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "eval");
    arguments.insert(arguments.end(), {"--cache", "cache", "--json"});
    const ProgramResult result = run(arguments);
    EXPECT_EQ(result.status, 0) << result.err;
    return result.status == 0 ? nlohmann::json::parse(result.out) : nlohmann::json();
  }
};

TEST_F(Eval, ACheckpointIsMeasuredAgainstItsOwnTrainingImages) {
  const auto a = eval({"--num", "12", "--steps", "3", "--ddim", "--neighbours", "n.png"});
  for (const char* key : {"frechet", "kernel", "precision", "recall", "density", "coverage"})
    EXPECT_TRUE(a.at(key).is_number()) << key;
  EXPECT_GT(a.at("frechet"), 0.0);
  EXPECT_EQ(a.at("num"), 12);
  EXPECT_EQ(a.at("protocol").at("split"), "train");
  EXPECT_EQ(a.at("protocol").at("reference_num"), 45) << "50 less 5 held out";
  EXPECT_EQ(a.at("protocol_line").get<std::string>().find("FID"), std::string::npos);
  EXPECT_EQ(a.at("protocol").at("sampler"),
            "ddim, 3 steps, eta 0, leading, offset 0, last alpha one, clip rederive to 1");
  EXPECT_EQ(a.at("protocol").at("precision"), "fp32");
  EXPECT_EQ(a.at("protocol").at("classes"), "all 8 in turn");
  EXPECT_NE(a.at("warnings").dump().find("34 images only"), std::string::npos)
      << "45 less those that the classifier is measured with: " << a.at("warnings");
  EXPECT_TRUE(std::filesystem::exists(folder_ / "n.png"));
  // Again, with the statistics from the cache, and drawn in other batches.
  const auto b = eval({"--num", "12", "--steps", "3", "--ddim", "--batch", "5"});
  EXPECT_EQ(a.at("protocol").at("features_sha256"), b.at("protocol").at("features_sha256"));
  // A pixel may round to the neighbouring level where a batch of another size sums otherwise.
  EXPECT_NEAR(a.at("frechet").get<double>(), b.at("frechet").get<double>(),
              0.02 * a.at("frechet").get<double>());
}

TEST_F(Eval, PicturesOfAFolderAreMeasuredAlsoWithTheFrechetDistanceAlone) {
  ASSERT_EQ(run({"sample", "--steps", "3", "--ddim", "--num", "9", "--out", "p"}).status, 0);
  const auto all = eval({"--samples", "p", "--reference", "tiny.toml", "--num", "9"});
  EXPECT_GT(all.at("frechet"), 0.0);
  EXPECT_TRUE(all.at("precision").is_number());
  const auto other =
      eval({"--samples", "p", "--reference", "tiny.toml", "--split", "all", "--frechet-only"});
  EXPECT_EQ(other.at("protocol").at("reference_num"), 50);
  EXPECT_TRUE(other.at("precision").is_null());
}

// A file in the cache that a disk or a full partition spoilt.
TEST_F(Eval, ADamagedCacheIsMadeAnewWithAWarning) {
  const std::vector<std::string> flags{"--num", "9", "--steps", "2", "--ddim"};
  const auto whole = eval(flags);
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "cache")) {
    std::vector<uint8_t> bytes = io::read_file(entry.path());
    bytes[bytes.size() - 9] ^= 0x20;
    io::write_file_synced(entry.path(), std::span<const uint8_t>(bytes));
  }
  std::vector<std::string> arguments{"eval", "--cache", "cache", "--json"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  const ProgramResult result = run(arguments);
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.err.find("is damaged and will be rebuilt"), std::string::npos) << result.err;
  EXPECT_EQ(nlohmann::json::parse(result.out).at("frechet"), whole.at("frechet"));
}

// The same pictures, sampled now or before: the same numbers, errors included.
TEST_F(Eval, SampledOrReadThePicturesHaveTheSameNumbers) {
  ASSERT_EQ(run({"sample", "--steps", "3", "--ddim", "--num", "48", "--batch", "64", "--out", "p"})
                .status,
            0);
  const auto read = eval({"--samples", "p", "--reference", "tiny.toml"});
  const auto now = eval({"--steps", "3", "--ddim", "--num", "48", "--batch", "64"});
  for (const char* key : {"frechet", "frechet_error", "kernel", "kernel_error", "recall_error"})
    EXPECT_EQ(read.at(key), now.at(key)) << key;
}

TEST_F(Eval, SamplingThatWasCutShortIsNamed) {
  const std::vector<std::string> measure{"eval",      "--samples", "p",    "--reference",
                                         "tiny.toml", "--cache",   "cache"};
  ASSERT_EQ(run({"sample", "--steps", "2", "--ddim", "--num", "16", "--out", "p"}).status, 0);
  EXPECT_EQ(run(measure).err.find("interrupted"), std::string::npos);
  std::filesystem::remove(folder_ / "p/000015.png");
  EXPECT_CONTAINS(run(measure).err, "holds 15 of 16 images: the sampling was interrupted");
}

TEST_F(Eval, ResultsOfOtherSettingsAreNotOverwritten) {
  const auto likelihood = [&](const std::string& num) {
    return run({"eval", "likelihood", "--num", num, "--calls", "2", "--out", "bits"});
  };
  ASSERT_EQ(likelihood("4").status, 0);
  const std::string table = io::read_text(folder_ / "bits/likelihood.csv");
  const ProgramResult other = likelihood("6");
  EXPECT_EQ(other.status, 1);
  EXPECT_CONTAINS(other.err, "bits: holds results of other settings");
  EXPECT_EQ(io::read_text(folder_ / "bits/likelihood.csv"), table);
  EXPECT_EQ(likelihood("4").status, 0);
}

// Every rank draws a share; with batches of one size each picture has the same bits.
TEST_F(Eval, TwoProcessesMeasureWhatOneDoes) {
  const std::vector<std::string> flags{"eval",    "--num", "12",      "--steps", "3",     "--ddim",
                                       "--batch", "3",     "--cache", "cache",   "--json"};
  const ProgramResult one = run(flags);
  ASSERT_EQ(one.status, 0) << one.err;
  const auto a = nlohmann::json::parse(one.out), b = nlohmann::json::parse(out_of_ranks(2, flags));
  for (const char* key : {"frechet", "frechet_error", "kernel", "precision", "coverage"}) {
    const double expected = a.at(key);
    EXPECT_NEAR(b.at(key).get<double>(), expected, 1e-9 + 1e-6 * std::abs(expected)) << key;
  }
}

TEST_F(Eval, WrongFlagsAreUsageErrors) {
  EXPECT_EQ(run({"eval", "--samples", "nowhere", "--reference", "tiny.toml"}).status, 1);
  for (const auto& [flag, value] : {std::pair{"--ckpt", "runs"},
                                    {"--steps", "3"},
                                    {"--eta", "1"},
                                    {"--class", "1"},
                                    {"--precision", "fp64"}}) {
    const ProgramResult both = run({"eval", "--samples", "p", flag, value});
    EXPECT_EQ(both.status, 2);
    EXPECT_NE(both.err.find(flag), std::string::npos) << both.err;
  }
  const ProgramResult one = run({"eval", "likelihood", "--calls", "1"});
  EXPECT_EQ(one.status, 2);
  EXPECT_NE(one.err.find("--calls 1 sees t = 1 alone"), std::string::npos) << one.err;
  const ProgramResult of_class = run({"eval", "likelihood", "--class", "1"});
  EXPECT_EQ(of_class.status, 2);
  EXPECT_NE(of_class.err.find("--class"), std::string::npos) << of_class.err;
  const ProgramResult set =
      run({"eval", "--num", "4", "--reference", "tiny.toml", "--set", "data.image_size=16"});
  EXPECT_EQ(set.status, 2);
  EXPECT_NE(set.err.find("8x8"), std::string::npos) << set.err;
  const ProgramResult eta = run({"eval", "sweep", "--steps", "2", "--eta", "much"});
  EXPECT_EQ(eta.status, 2);
  EXPECT_NE(eta.err.find("0 to 1, or hat"), std::string::npos) << eta.err;
  const ProgramResult variance = run({"eval", "likelihood", "--variance", "learned"});
  EXPECT_EQ(variance.status, 2);
  EXPECT_NE(variance.err.find("model.learned_variance"), std::string::npos) << variance.err;
}

TEST_F(Eval, LikelihoodHasATermACallAndWritesItsFiles) {
  const ProgramResult result = run({"eval", "likelihood", "--num", "6", "--calls", "0", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json.at("calls"), 20);
  EXPECT_EQ(json.at("split"), "holdout") << "5 images were held out";
  EXPECT_EQ(json.at("num"), 5);
  EXPECT_EQ(json.at("bound").get<std::string>().rfind("an upper bound", 0), 0u);
  EXPECT_GT(json.at("bits_per_dim"), 1.0);
  const std::string csv = io::read_text(folder_ / json.at("csv").get<std::string>());
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 21);
  EXPECT_TRUE(std::filesystem::exists(folder_ / json.at("picture").get<std::string>()));
  EXPECT_TRUE(std::filesystem::exists(
      (folder_ / json.at("picture").get<std::string>()).parent_path() / "rate_distortion.png"));
}

// T = 20. The analytic variance is measured on first use and kept.
TEST_F(Eval, ABoundOfFewStepsHasTheirNumberAndVariance) {
  const auto bound = [&](const std::string& sigma, const std::string& steps) {
    const ProgramResult result = run({"eval", "likelihood", "--split", "train", "--num", "8",
                                      "--steps", steps, "--sigma", sigma, "--json"});
    EXPECT_EQ(result.status, 0) << result.err;
    return nlohmann::json::parse(result.out);
  };
  const auto analytic = bound("analytic", "4");
  EXPECT_EQ(analytic.at("steps"), 4);
  EXPECT_EQ(analytic.at("calls"), 4);
  EXPECT_CONTAINS(analytic.at("protocol_line").get<std::string>(),
                  "variance analytic (the optimal one); 4 steps of 20, leading, from t = 16");
  EXPECT_LT(analytic.at("bits_per_dim"), bound("small", "4").at("bits_per_dim"));
  // The optimal variance is that of a trained network; this one has seen four batches.
  EXPECT_NE(analytic.at("bits_per_dim"), bound("large", "4").at("bits_per_dim"));
  EXPECT_FALSE(std::filesystem::is_empty(folder_ / "runs/tiny/estimates"));
  // All steps: the ordinary bound.
  const ProgramResult all = run({"eval", "likelihood", "--split", "train", "--num", "8", "--json"});
  ASSERT_EQ(all.status, 0) << all.err;
  const double ordinary = nlohmann::json::parse(all.out).at("bits_per_dim");
  EXPECT_NEAR(bound("small", "20").at("bits_per_dim").get<double>(), ordinary, 1e-6 * ordinary);
  const ProgramResult many = run({"eval", "likelihood", "--steps", "21"});
  EXPECT_EQ(many.status, 2);
  EXPECT_CONTAINS(many.err, "--steps is 21, but the schedule has 20 timesteps");
  const ProgramResult spacing = run({"eval", "likelihood", "--spacing", "trailing"});
  EXPECT_EQ(spacing.status, 2);
  EXPECT_CONTAINS(spacing.err, "--spacing chooses the timesteps of --steps");
}

TEST_F(Eval, TheFlowsLikelihoodIsThatOfOneProcess) {
  const std::vector<std::string> flags{"eval",    "likelihood", "--ode",   "--num", "5",
                                       "--steps", "6",          "--batch", "2",     "--split",
                                       "train",   "--out",      "flow",    "--json"};
  const ProgramResult one = run(flags);
  ASSERT_EQ(one.status, 0) << one.err;
  const auto json = nlohmann::json::parse(one.out);
  EXPECT_EQ(json.at("timesteps"), 6);
  EXPECT_EQ(json.at("calls"), 11);
  EXPECT_EQ(json.at("num"), 5);
  EXPECT_GT(json.at("bits_per_dim"), 0.0);
  const std::string csv = io::read_text(folder_ / "flow/ode_likelihood.csv");
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 7);
  const std::string images = io::read_text(folder_ / "flow/ode_images.csv");
  EXPECT_EQ(std::count(images.begin(), images.end(), '\n'), 6);
  std::filesystem::remove_all(folder_ / "flow");
  EXPECT_EQ(out_of_ranks(2, flags), one.out);
  EXPECT_EQ(io::read_text(folder_ / "flow/ode_images.csv"), images);
  for (const auto& [flag, value] :
       {std::pair{"--sigma", "small"}, {"--calls", "4"}, {"--clip", "none"}})
    EXPECT_EQ(run({"eval", "likelihood", "--ode", flag, value}).status, 2) << flag;
  EXPECT_EQ(run({"eval", "likelihood", "--probes", "2"}).status, 2);
}

TEST_F(Eval, AnEstimatedLikelihoodSaysThatItIsOne) {
  const ProgramResult result =
      run({"eval", "likelihood", "--num", "6", "--calls", "5", "--split", "train"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find("an unbiased estimate of an upper bound"), std::string::npos)
      << result.out;
  EXPECT_NE(result.out.find("5 of 20 terms per image"), std::string::npos) << result.out;
  EXPECT_NE(result.err.find("trained on these images"), std::string::npos) << result.err;
}

// 7 images in batches of 2: two processes have batches of their own, and of five one has none.
TEST_F(Eval, ManyProcessesFindTheLikelihoodOfOne) {
  const std::vector<std::string> flags{"eval",    "likelihood", "--num", "7",     "--calls",
                                       "5",       "--batch",    "2",     "--out", "likelihood",
                                       "--split", "train",      "--json"};
  const ProgramResult one = run(flags);
  ASSERT_EQ(one.status, 0) << one.err;
  const std::string csv = io::read_text(folder_ / "likelihood/likelihood.csv");
  for (const int ranks : {2, 5}) {
    std::filesystem::remove_all(folder_ / "likelihood");
    EXPECT_EQ(out_of_ranks(ranks, flags), one.out) << ranks;
    EXPECT_EQ(io::read_text(folder_ / "likelihood/likelihood.csv"), csv) << ranks;
  }
}

TEST_F(Eval, ASignalEndsItWithOneLine) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
    Program program(folder_.path(), {"eval", "--num", "100000", "--cache", "cache"});
    ASSERT_TRUE(program.wait_for_message("reference: "));
    program.send(signal);
    const ProgramResult result = program.wait();
    EXPECT_EQ(result.status, 130) << result.err;
    EXPECT_TRUE(result.err.ends_with("stopped by " + signal_name(signal) +
                                     "; samples and measurements are lost\n"))
        << result.err;
    EXPECT_EQ(result.out, "");
  }
}

TEST_F(Eval, ASweepThatASignalStopsGoesOn) {
  const std::vector<std::string> flags{"eval",  "sweep", "--steps", "2,20",    "--eta",
                                       "0",     "--num", "3000",    "--cache", "cache",
                                       "--out", "sweep", "--json"};
  Program program(folder_.path(), flags);
  ASSERT_TRUE(program.wait_for_message("steps-0002-eta-0: "));
  program.send(SIGTERM);
  program.send(SIGTERM);
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.status, 75) << result.err;
  EXPECT_TRUE(result.err.ends_with("the same command resumes after the last finished cell\n"))
      << result.err;
  EXPECT_TRUE(std::filesystem::exists(folder_ / "sweep/steps-0002-eta-0.json"));
}

// T = 20: the default table ends there. Other classes have another folder.
TEST_F(Eval, ASweepsDefaultStepsGoAsFarAsT) {
  std::vector<std::string> flags{"eval", "sweep",   "--eta", "0",     "--num",
                                 "4",    "--cache", "cache", "--json"};
  const ProgramResult all = run(flags);
  ASSERT_EQ(all.status, 0) << all.err;
  const auto json = nlohmann::json::parse(all.out);
  ASSERT_EQ(json.at("cells").size(), 2u);
  EXPECT_EQ(json.at("cells")[0].at("steps"), 10);
  EXPECT_EQ(json.at("cells")[1].at("steps"), 20);
  EXPECT_EQ(json.at("protocol").at("classes"), "all 8 in turn");
  flags.insert(flags.end(), {"--class", "1"});
  const ProgramResult one = run(flags);
  ASSERT_EQ(one.status, 0) << one.err;
  EXPECT_NE(nlohmann::json::parse(one.out).at("picture"), json.at("picture"));
  const ProgramResult beyond = run({"eval", "sweep", "--steps", "10,50"});
  EXPECT_EQ(beyond.status, 2) << "asked for, not a default";
}

TEST_F(Eval, ASweepGoesOnWithItsMissingCells) {
  const std::vector<std::string> flags{"eval",  "sweep", "--steps", "2,4",     "--eta",
                                       "0,hat", "--num", "6",       "--cache", "cache",
                                       "--out", "sweep", "--json"};
  const ProgramResult first = run(flags);
  ASSERT_EQ(first.status, 0) << first.err;
  const auto cells = nlohmann::json::parse(first.out).at("cells");
  ASSERT_EQ(cells.size(), 4u);
  std::filesystem::remove(folder_ / "sweep/steps-0004-eta-hat.json");
  const ProgramResult second = run(flags);
  ASSERT_EQ(second.status, 0) << second.err;
  EXPECT_NE(second.err.find("steps-0002-eta-0: already exists"), std::string::npos) << second.err;
  EXPECT_EQ(second.err.find("steps-0004-eta-hat: already exists"), std::string::npos) << second.err;
  const auto again = nlohmann::json::parse(second.out).at("cells");
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(cells[i].at("frechet"), again[i].at("frechet")) << i;
  for (const char* name : {"sweep.txt", "sweep.csv", "sweep.png", "curves.png", "protocol.json"})
    EXPECT_TRUE(std::filesystem::exists(folder_ / "sweep" / name)) << name;
}

// A reference of one image, and one with more classes than the network knows.
TEST_F(Eval, AReferenceThatCannotServeIsRefused) {
  const torch::Tensor image = torch::arange(64).view({1, 8, 8}).to(torch::kByte);
  std::filesystem::create_directories(folder_ / "one");
  io::write_png(folder_ / "one/a.png", image);
  for (int i = 0; i < 9; ++i) {
    const std::string name = "many/" + std::to_string(i);
    std::filesystem::create_directories(folder_ / name);
    io::write_png(folder_ / name / "a.png", image + i);
  }
  torch::jit::Module features("Features");
  features.define("def forward(self, x):\n  return x.float().flatten(1)[:, :4]\n");
  features.save(folder_ / "features.pt");
  const auto expect = [&](const std::vector<std::string>& arguments, int status,
                          const std::string& text) {
    const ProgramResult result = run(arguments);
    EXPECT_EQ(result.status, status);
    EXPECT_NE(result.err.find(text), std::string::npos) << result.err;
  };
  expect({"eval", "--num", "4", "--steps", "2", "--reference", "one", "--features", "features.pt",
          "--cache", "cache"},
         2, "the reference holds one image");
  train("runs/classes", {"--set", "model.class_conditional=true"});
  expect({"eval", "likelihood", "--ckpt", "runs/classes", "--reference", "many", "--num", "9"}, 1,
         "the network knows 8");
}

}  // namespace
}  // namespace ddpm
