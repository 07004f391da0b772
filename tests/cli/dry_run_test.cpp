#include "ddpm/kernels/device.h"
#include "tests/cli/error_line.h"
#include "tests/cli/fixture.h"
#include "tests/io/fixtures.h"

namespace ddpm {
namespace {

class DryRun : public CliTest {};

TEST_F(DryRun, MeasuresAndWritesNothing) {
  const ProgramResult result = run({"train", "--config", "tiny.toml", "--dry-run"});
  ASSERT_EQ(result.status, 0) << result.err;
  for (const char* text : {"would start at step 0", "parameters", "images/s", "memory", "12 steps",
                           "held out       5 images", "nothing was trained"}) {
    EXPECT_NE(result.out.find(text), std::string::npos) << text << " in " << result.out;
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "runs"));
}

TEST_F(DryRun, TellsWhereBf16IsFasterOnThisProcessor) {
  const auto tells = [&](const std::string& precision) {
    const ProgramResult result =
        run({"train", "--config", "tiny.toml", "--dry-run", "--device", "cpu", "--set",
             "model.channels=32", "--set", "train.precision=" + precision});
    EXPECT_EQ(result.status, 0) << result.err;
    return result.out.find("train.precision = \"auto\" is bf16 here") != std::string::npos;
  };
  EXPECT_EQ(tells("fp32"), kernels::has_amx());
  EXPECT_FALSE(tells("bf16"));
  EXPECT_FALSE(tells("auto"));
}

TEST_F(DryRun, OfARunSaysWhereItWouldGoOnAndLeavesItAlone) {
  train("run", {"--set", "train.steps=8"});
  const std::string log = io::read_text(folder_ / "run/log.txt");
  const ProgramResult result = run({"train", "--config", "tiny.toml", "--out", "run", "--dry-run"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find("would resume from step 8"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("4 steps take"), std::string::npos) << result.out;
  EXPECT_EQ(io::read_text(folder_ / "run/log.txt"), log);
  EXPECT_FALSE(std::filesystem::exists(checkpoint("run", 12)));
}

TEST_F(DryRun, FindsWhatTrainingWouldFind) {
  const ProgramResult result = run({"train", "--config", "tiny.toml", "--dry-run", "--set",
                                    "data.kind=folder", "--set", "data.path=nowhere"});
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("nowhere"), std::string::npos) << result.err;
}

// Whatever training refuses, a dry run refuses with the same words and status.
TEST_F(DryRun, RefusesWhatTrainingRefuses) {
  for (const char* label : {"a", "b"}) {
    for (int i = 0; i < 10; ++i) {
      fixtures::write(folder_ / (std::string("set/") + label + "/" + std::to_string(i) + ".pgm"),
                      fixtures::flat_pnm(8, 8, 1, static_cast<uint8_t>(9 * i)));
    }
  }
  std::filesystem::copy(folder_ / "set", folder_ / "three",
                        std::filesystem::copy_options::recursive);
  fixtures::write(folder_ / "three/c/1.pgm", fixtures::flat_pnm(8, 8, 1, 1));
  std::filesystem::create_directories(folder_ / "mine");
  io::write_file_synced(folder_ / "mine/config.toml", std::string_view("# mine"));
  const std::vector<std::string> folder{"--set", "data.kind=folder",
                                        "--set", "data.image_size=8",
                                        "--set", "model.class_conditional=true"};
  const auto with = [&](std::vector<std::string> words, const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  train("run");
  train("classes", with(folder, {"--set", "data.path=set"}));
  train("damaged", {"--set", "train.steps=4"});
  std::filesystem::resize_file(checkpoint("damaged", 4) / "model.safetensors", 10);
  Program holder(folder_.path(), {"train", "--config", "tiny.toml", "--out", "held", "--set",
                                  "train.steps=100000"});
  ASSERT_TRUE(holder.wait_for_message("network:"));

  const std::vector<std::vector<std::string>> cases{
      {"--out", "run", "--set", "model.channels=16"},
      {"--out", "run", "--set", "diffusion.prediction=v"},
      {"--out", "run", "--set", "run.seed=1"},
      {"--out", "run", "--set", "train.batch_size=4"},
      {"--out", "run", "--set", "data.size=51"},
      {"--out", "run", "--set", "ema.decay=0.5"},
      {"--out", "run", "--set", "train.precision=fp64"},
      {"--out", "run", "--resume", "never"},
      {"--out", "new", "--resume", "nowhere"},
      {"--out", "new", "--resume", "damaged"},
      {"--out", "damaged"},
      {"--out", "held"},
      {"--out", "mine"},
      {"--out", "new", "--set", "model.learned_variance=true"},
      {"--out", "new", "--set", "diffusion.prediction=mu", "--set", "train.precision=bf16"},
      with(folder, {"--out", "classes", "--set", "data.path=three"}),
      with(folder, {"--out", "set/run", "--set", "data.path=set"}),
      with(folder, {"--out", "new", "--set", "data.path=three", "--init-from", "classes"}),
      {"--out", "new", "--init-from", "classes", "--set", "data.channels=3"},
      {"--out", "new", "--init-from", "run", "--set", "data.image_size=16"},
      {"--out", "new", "--init-from", "run", "--set", "model.channels=16"},
      {"--out", "new", "--init-from", "nowhere"},
      {"--out", "new", "--set", "train.label_dropout=0.1"},
      {"--out", "new", "--set", "sample.guidance=2"},
      with(folder, {"--out", "new", "--set", "data.path=set", "--init-from", "classes", "--set",
                    "train.label_dropout=0.1"}),
  };
  for (const std::vector<std::string>& flags : cases) {
    const std::vector<std::string> command = with({"train", "--config", "tiny.toml"}, flags);
    const ProgramResult dry = run(with(command, {"--dry-run"}));
    const ProgramResult real = run(command);
    const std::string name = testing::PrintToString(flags);
    EXPECT_NE(real.status, 0) << name;
    EXPECT_EQ(dry.status, real.status) << name << dry.err;
    EXPECT_NE(error_line(real), "") << name << real.err;
    EXPECT_EQ(error_line(dry), error_line(real)) << name;
    EXPECT_FALSE(std::filesystem::exists(folder_ / "new")) << name;
    std::filesystem::remove_all(folder_ / "new");
  }
}

TEST_F(DryRun, ReadsWhatIsHeldOutAsTrainingDoes) {
  for (int i = 0; i < 20; ++i) {
    fixtures::Bytes cut = fixtures::flat_pnm(300, 300, 1, 10);
    cut.resize(70000);  // its header is sound: only decoding finds out
    fixtures::write(folder_ / ("set/" + std::to_string(10 + i) + ".pgm"), cut);
  }
  const std::vector<std::string> command{"train",
                                         "--config",
                                         "tiny.toml",
                                         "--out",
                                         "new",
                                         "--set",
                                         "data.kind=folder",
                                         "--set",
                                         "data.path=set",
                                         "--set",
                                         "data.image_size=8",
                                         "--set",
                                         "data.holdout=12"};
  const ProgramResult real = run(command);
  std::vector<std::string> dry_command = command;
  dry_command.emplace_back("--dry-run");
  const ProgramResult dry = run(dry_command);
  EXPECT_EQ(real.status, 1);
  EXPECT_EQ(dry.status, 1);
  EXPECT_NE(error_line(real).find("is not a readable image"), std::string::npos) << real.err;
  EXPECT_EQ(error_line(dry), error_line(real));
}

TEST_F(DryRun, BeginsWithTheWeightsThatTrainingWould) {
  train("run", {"--set", "train.steps=400", "--set", "train.checkpoint_every=400", "--set",
                "train.holdout_every=400"});
  const auto loss = [&](const std::vector<std::string>& flags) {
    std::vector<std::string> command{"train", "--config", "tiny.toml", "--dry-run"};
    command.insert(command.end(), flags.begin(), flags.end());
    const ProgramResult result = run(command);
    EXPECT_EQ(result.status, 0) << result.err;
    const size_t at = result.out.find("loss ");
    return at == std::string::npos ? 0.0 : std::stod(result.out.substr(at + 5));
  };
  const double random = loss({});
  EXPECT_LT(loss({"--out", "run", "--set", "train.steps=500"}), random - 0.1);
  EXPECT_LT(loss({"--init-from", "run"}), random - 0.1);
}

TEST_F(DryRun, OfAClusterMeasuresTheShareOfOneProcess) {
  const auto dry = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"train", "--config", "tiny.toml", "--dry-run"});
    return run(flags);
  };
  const ProgramResult result =
      dry({"--as-ranks", "4", "--gpus-per-node", "2", "--network-latency", "2e5"});
  ASSERT_EQ(result.status, 0) << result.err;
  for (const char* text : {"4 processes on 2 machines", "2 of 8 images", "for 2 images",
                           "200,000 us per hop", "efficiency 0.0", "nothing was trained"}) {
    EXPECT_NE(result.out.find(text), std::string::npos) << text << " in " << result.out;
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "runs"));

  const ProgramResult sharded = dry({"--as-ranks", "2", "--set", "train.shard_optimizer=true"});
  EXPECT_NE(sharded.out.find("less in each process (train.shard_optimizer)"), std::string::npos)
      << sharded.out << sharded.err;

  const ProgramResult uneven = dry({"--as-ranks", "3"});
  EXPECT_EQ(uneven.status, 2);
  EXPECT_NE(uneven.err.find("not divisible by 3 processes"), std::string::npos) << uneven.err;
  EXPECT_EQ(run({"train", "--config", "tiny.toml", "--as-ranks", "2"}).status, 2);
}

}  // namespace
}  // namespace ddpm
