#include "ddpm/checkpoint/averages.h"
#include "ddpm/train/trainer.h"
#include "tests/io/temporary_folder.h"
#include "tests/train/small_experiment.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::train {
namespace {

namespace fs = std::filesystem;
using checkpoint::CheckpointStore;

// 40 steps that keep the averages of lengths 0.05 and 0.1, with a snapshot after every second one.
const std::vector<std::string> kFortySteps{"train.steps=40", "train.checkpoint_every=10",
                                           "train.keep_last=1", "ema.snapshot_every=2",
                                           "optimizer.lr=0.01"};

void train_into(const fs::path& run, std::vector<std::string> changes,
                const ResumePolicy& resume = {}) {
  changes.insert(changes.begin(), kFortySteps.begin(), kFortySteps.end());
  config::Document document = small_document(changes);
  Experiment experiment = read_experiment(document);
  const data::Split data{data::open_dataset(experiment.data, 0), nullptr};
  resolve_unet(experiment, document, *data.training);
  StopSignal signal;
  Trainer(experiment, document, data, torch::kCPU, run, resume, {signal, {}}).run();
}

const std::string kBoth = "ema.power_lengths=[0.05, 0.1]";

fs::path checkpoint_of(const fs::path& run, int64_t step) {
  return CheckpointStore(run / "checkpoints").folder_of(step);
}

CheckpointStore snapshots(const fs::path& run) {
  return CheckpointStore(checkpoint::snapshots_of(run));
}

// Every file of the snapshots, with its content.
std::map<std::string, std::vector<uint8_t>> files_of(const fs::path& run) {
  std::map<std::string, std::vector<uint8_t>> files;
  const fs::path folder = checkpoint::snapshots_of(run);
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file())
      files[fs::relative(entry.path(), folder).string()] = io::read_file(entry.path());
  }
  return files;
}

double distance(const std::vector<io::NamedTensor>& a, const std::vector<io::NamedTensor>& b) {
  double square = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].name, b[i].name);
    square += (a[i].tensor - b[i].tensor).to(torch::kDouble).square().sum().item<double>();
  }
  return std::sqrt(square);
}

class EmaSnapshots : public testing::Test {
 protected:
  TemporaryFolder folder_;
};

TEST_F(EmaSnapshots, AreKeptAtRegularStepsWhateverCheckpointsGo) {
  train_into(folder_ / "run", {kBoth});
  EXPECT_EQ(CheckpointStore(folder_ / "run/checkpoints").steps(), (std::vector<int64_t>{40}));
  const auto store = snapshots(folder_ / "run");
  ASSERT_EQ(store.steps().size(), 20u);
  for (size_t i = 0; i < 20; ++i) EXPECT_EQ(store.steps()[i], 40 - 2 * static_cast<int64_t>(i));
  const auto file = io::SafetensorsFile::open(store.folder_of(6) / "power-0.05.safetensors");
  EXPECT_EQ(file.metadata().at("step"), "6");
  EXPECT_EQ(file.metadata().at("length"), "0.05");
  EXPECT_EQ(file.info(file.names()[0]).dtype, torch::kHalf);
  EXPECT_TRUE(CheckpointStore::verify(store.folder_of(6)).ok());
}

TEST_F(EmaSnapshots, AreNotMadeWithoutLengths) {
  train_into(folder_ / "run", {"train.steps=4"});
  EXPECT_FALSE(fs::exists(checkpoint::snapshots_of(folder_ / "run")));
  EXPECT_THROW(checkpoint::rebuilt_ema(checkpoint_of(folder_ / "run", 4), 0.1), UsageError);
}

// A run that ends at any step and goes on, at a step with a snapshot or between two.
TEST_F(EmaSnapshots, OfAResumedRunAreThoseOfAnUninterruptedOne) {
  train_into(folder_ / "whole", {kBoth});
  const std::vector<std::string> fixed{kBoth, "optimizer.decay=\"constant\""};
  for (const int64_t end : {7, 8, 23}) {
    const fs::path run = folder_ / ("parts-" + std::to_string(end));
    auto part = fixed;
    part.push_back("train.steps=" + std::to_string(end));
    train_into(run, part);
    train_into(run, fixed);
    EXPECT_EQ(files_of(run), files_of(folder_ / "whole")) << end;
    for (const char* name : {"power-0.05.safetensors", "power-0.1.safetensors"})
      EXPECT_EQ(io::read_file(checkpoint_of(run, 40) / name),
                io::read_file(checkpoint_of(folder_ / "whole", 40) / name))
          << end << name;
  }
}

// Killed after a snapshot that no checkpoint followed: the run goes on from before.
TEST_F(EmaSnapshots, LaterThanTheCheckpointAreWrittenAgain) {
  train_into(folder_ / "whole", {kBoth, "train.keep_last=10"});
  const fs::path run = folder_ / "killed";
  train_into(run, {kBoth, "train.keep_last=10"});
  fs::remove_all(checkpoint_of(run, 40));
  const fs::path stale = snapshots(run).folder_of(36) / "power-0.1.safetensors";
  fs::resize_file(stale, 100);
  fs::create_directories(checkpoint::snapshots_of(run) / ".tmp-step-000000034-1");
  fs::copy(snapshots(run).folder_of(38), snapshots(run).folder_of(39));
  train_into(run, {kBoth, "train.keep_last=10"});
  EXPECT_EQ(files_of(run), files_of(folder_ / "whole"));
  EXPECT_FALSE(fs::exists(checkpoint::snapshots_of(run) / ".tmp-step-000000034-1"));
}

TEST_F(EmaSnapshots, ComeAlongToARunThatBranchesOff) {
  train_into(folder_ / "whole", {kBoth, "train.keep_last=10"});
  const ResumePolicy from{ResumePolicy::Kind::kFrom, checkpoint_of(folder_ / "whole", 20), {}};
  train_into(folder_ / "branch", {kBoth}, from);
  EXPECT_EQ(files_of(folder_ / "branch"), files_of(folder_ / "whole"));
}

TEST_F(EmaSnapshots, OtherLengthsAreRefusedOnResume) {
  train_into(folder_ / "run", {kBoth, "train.steps=4"});
  try {
    train_into(folder_ / "run", {"ema.power_lengths=[0.05]"});
    FAIL() << "not refused";
  } catch (const IoError& error) {
    EXPECT_NE(std::string(error.what()).find("ema.power_lengths"), std::string::npos)
        << error.what();
  }
}

TEST_F(EmaSnapshots, ThatCannotBeWrittenDoNotEndTheTraining) {
  fs::create_directories(folder_ / "run");
  io::write_file_synced(checkpoint::snapshots_of(folder_ / "run"), std::string_view("a file"));
  train_into(folder_ / "run", {kBoth, "train.steps=4"});
  EXPECT_TRUE(fs::exists(checkpoint_of(folder_ / "run", 4) / "power-0.1.safetensors"));
}

TEST_F(EmaSnapshots, GiveATrackedAverageItself) {
  train_into(folder_ / "run", {kBoth});
  const fs::path last = checkpoint_of(folder_ / "run", 40);
  for (const double length : {0.05, 0.1}) {
    const auto rebuilt = checkpoint::rebuilt_ema(last, length);
    EXPECT_EQ(rebuilt.fit.error, 0.0);
    const auto weights = checkpoint::rebuilt_weights(rebuilt);
    const auto tracked =
        io::read_safetensors(last / (checkpoint::power_name(length) + ".safetensors"));
    ASSERT_EQ(weights.size(), tracked.size());
    for (size_t i = 0; i < weights.size(); ++i) {
      EXPECT_EQ(weights[i].name, tracked[i].name);
      EXPECT_TRUE(weights[i].tensor.equal(tracked[i].tensor)) << tracked[i].name;
    }
  }
}

// The same training, once with the averages that the other rebuilds.
TEST_F(EmaSnapshots, GiveAveragesThatWereNotTracked) {
  const std::vector<double> wanted{0.04, 0.07, 0.15};
  train_into(folder_ / "run", {kBoth});
  train_into(folder_ / "truth", {"ema.power_lengths=[0.04, 0.07, 0.15]"});
  const fs::path last = checkpoint_of(folder_ / "run", 40);
  const fs::path truth = checkpoint_of(folder_ / "truth", 40);
  const auto of = [](const fs::path& folder, double length) {
    return io::read_safetensors(folder / (checkpoint::power_name(length) + ".safetensors"));
  };
  for (const double length : wanted) {
    const auto exact = of(truth, length);
    const auto rebuilt = checkpoint::rebuilt_weights(checkpoint::rebuilt_ema(last, length));
    const double nearest =
        std::min(distance(of(last, 0.05), exact), distance(of(last, 0.1), exact));
    // The profiles have errors of 0.3 to 0.7 %. float16 adds up to 2^-11 of the weights.
    EXPECT_LT(distance(rebuilt, exact), 0.1 * nearest) << length;
  }
}

TEST_F(EmaSnapshots, ThatAreDamagedAreNamed) {
  train_into(folder_ / "run", {kBoth});
  const fs::path last = checkpoint_of(folder_ / "run", 40);
  const auto whole = checkpoint::rebuilt_ema(last, 0.07);
  const fs::path file = snapshots(folder_ / "run").folder_of(38) / "power-0.1.safetensors";
  std::vector<uint8_t> bytes = io::read_file(file);
  bytes.back() ^= 1;
  io::write_file_synced(file, bytes);
  try {
    checkpoint::rebuilt_weights(checkpoint::rebuilt_ema(last, 0.07));
    FAIL() << "not noticed";
  } catch (const IoError& error) {
    EXPECT_NE(std::string(error.what()).find(file.string()), std::string::npos) << error.what();
  }
  // Without the folder the others do, and the result counts as another one.
  fs::remove_all(file.parent_path());
  const auto rest = checkpoint::rebuilt_ema(last, 0.07);
  EXPECT_EQ(rest.averages.size() + 2, whole.averages.size());
  EXPECT_GT(rest.fit.error, whole.fit.error);
  EXPECT_NE(checksum(rest), checksum(whole));
  EXPECT_NO_THROW(checkpoint::rebuilt_weights(rest));
}

TEST_F(EmaSnapshots, RefuseALengthThatTheyCannotGive) {
  train_into(folder_ / "run", {kBoth});
  const fs::path last = checkpoint_of(folder_ / "run", 40);
  // The golden errors of scripts/make_power_ema_golden.py for 20 snapshots.
  EXPECT_NEAR(checkpoint::rebuilt_ema(last, 0.02).fit.error, 0.0867, 0.001);
  try {
    checkpoint::rebuilt_ema(last, 0.01);
    FAIL() << "not refused";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("possible lengths are 0.019 to 0.263"),
              std::string::npos)
        << error.what();
  }
}

// 2^-11 is the spacing of float16 from 1/2 to 1.
TEST(StoredTensor, IsFloat16WhereThatCanHoldIt) {
  const torch::Tensor fits = torch::tensor({0.7, -3e4, 1e-9, 0.0});
  const torch::Tensor stored = checkpoint::stored_tensor(fits);
  EXPECT_EQ(stored.scalar_type(), torch::kHalf);
  EXPECT_NEAR(stored[0].item<double>(), 0.7, std::pow(2.0, -12));
  EXPECT_EQ(stored[1].item<double>(), -3e4);
  const torch::Tensor large = torch::tensor({0.7, 1e5});
  EXPECT_TRUE(checkpoint::stored_tensor(large).equal(large));
}

}  // namespace
}  // namespace ddpm::train
