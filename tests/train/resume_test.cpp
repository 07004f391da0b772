#include "ddpm/train/resume.h"

#include "ddpm/base/error.h"
#include "ddpm/checkpoint/averages.h"
#include "ddpm/checkpoint/run_lock.h"
#include "ddpm/io/file.h"
#include "ddpm/nn/model_file.h"
#include "src/data/array_images.h"
#include "tests/io/temporary_folder.h"

#include <fstream>

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace ddpm::train {
namespace {

namespace fs = std::filesystem;

const std::string kConfig = R"([data]
kind = "procedural"
size = 40
image_size = 8
channels = 1
[model]
channels = 8
channel_multipliers = [1, 2]
blocks = 1
attention_resolutions = [4]
groups = 4
[diffusion]
timesteps = 20
[train]
steps = 100
batch_size = 4
[optimizer]
lr = 1e-3
decay = "cosine"
[ema]
decay = [0.9, 0.5]
)";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

// A config as a program reads it, on its data.
struct OpenRun {
  explicit OpenRun(const std::string& text, const std::vector<std::string>& changes = {})
      : document(config::Document::parse(text, "run.toml")) {
    for (const std::string& change : changes) document.set(change);
    experiment = read_experiment(document);
    data = data::open_dataset(experiment.data, 0);
    resolve_unet(experiment, document, *data);
    model_toml = nn::to_toml({experiment.unet, experiment.diffusion, data->class_names()});
  }
  RunIdentity identity() const {
    return {"runs/mine", experiment, document, *data, model_toml, data->fingerprint()};
  }

  config::Document document;
  Experiment experiment;
  std::shared_ptr<const data::Dataset> data;
  std::string model_toml;
};

// The texts of a checkpoint at step 50 of that run.
class Resuming : public testing::Test {
 protected:
  void SetUp() override {
    const OpenRun run(kConfig);
    checkpoint::TrainingState state;
    state.step = 50;
    state.batch_size = run.experiment.train.batch_size;
    state.dataset_size = run.data->size();
    state.precision = "fp32";
    state.ema_decays = run.experiment.ema.decays;
    state.fingerprint = run.data->fingerprint();
    write("state.json", checkpoint::to_json_text(state));
    write("config.toml", run.document.effective());
    write("model.toml", run.model_toml);
  }
  void write(const std::string& name, const std::string& text) {
    io::write_file_synced(folder_ / name, text);
  }
  std::string text(const std::string& name) { return io::read_text(folder_ / name); }
  Resumption compare(const std::vector<std::string>& changes = {}) {
    return compare_with(folder_.path(), OpenRun(kConfig, changes).identity());
  }
  std::string refusal(const std::vector<std::string>& changes) {
    try {
      compare(changes);
    } catch (const Error& error) {
      return error.what();
    }
    return "none";
  }

  TemporaryFolder folder_;
};

TEST_F(Resuming, TheSameConfigChangesNothing) {
  const Resumption found = compare();
  EXPECT_EQ(found.state.step, 50);
  EXPECT_TRUE(found.changes.empty()) << found.changes.front();
  EXPECT_EQ(found.rate, "");
}

TEST_F(Resuming, ADescriptionIsComparedByWhatItMeans) {
  const std::string model = text("model.toml");
  // Keys that this version added, with their defaults; and the order of keys.
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"learned_variance = false\n", ""},
           {"time_scale = 1.0\n", ""},
           {"resample = \"conv\"\n", ""},
           {"prediction = \"eps\"\n", ""},
           {"class_names = [", "class_names = [\"other\", "},  // nothing to this network
           {"beta_end = 0.02", "beta_end = 2e-2  # as ever"},
           {"[diffusion]\nschedule = \"linear\"\n", "[diffusion]\n"}}) {
    write("model.toml", replaced(model, from, to));
    EXPECT_EQ(refusal({}), "none") << from;
  }
  const size_t at = model.find("[diffusion]");
  write("model.toml", model.substr(at) + "\n" + model.substr(0, at));
  EXPECT_EQ(refusal({}), "none");
}

TEST_F(Resuming, AKeyThatADescriptionLacksCountsWithItsDefault) {
  write("model.toml", replaced(text("model.toml"), "time_scale = 1.0\n", ""));
  EXPECT_EQ(refusal({"model.time_scale=2"}),
            "runs/mine: was trained with model.time_scale = 1.0, the config says 2.0; change it "
            "back, or start a new run with --out");
}

TEST_F(Resuming, WhatMayNotChangeIsNamedWithBothValues) {
  EXPECT_EQ(refusal({"model.channels=16"}),
            "runs/mine: was trained with model.channels = 8, the config says 16; change it back, "
            "or start a new run with --out");
  EXPECT_EQ(refusal({"model.dropout=0.5", "diffusion.schedule=cosine"}),
            "runs/mine: was trained with model.dropout = 0.0, the config says 0.5; with "
            "diffusion.schedule = \"linear\", the config says \"cosine\"; change them back, or "
            "start a new run with --out");
  EXPECT_EQ(refusal({"run.seed=1"}),
            "runs/mine: was trained with run.seed = 0, the config says 1; change it back, or "
            "start a new run with --out");
  EXPECT_EQ(refusal({"train.batch_size=8"}),
            "runs/mine: was trained with train.batch_size = 4, the config says 8; change it back, "
            "or start a new run with --out");
  EXPECT_EQ(refusal({"ema.decay=0.9"}),
            "runs/mine: was trained with ema.decay = [0.9, 0.5], the config says [0.9]; change it "
            "back, or start a new run with --out");
  EXPECT_EQ(refusal({"train.precision=fp64"}),
            "runs/mine: was trained with train.precision = fp32, the config says fp64; change it "
            "back, or start a new run with --out");
  EXPECT_EQ(refusal({"data.size=41"}),
            "runs/mine: was trained on 40 images, the data now has 41; use the same, or start a "
            "new run with --out");
  EXPECT_EQ(refusal({"data.image_size=16", "data.channels=3", "model.attention_resolutions=[8]"}),
            "runs/mine: was trained on images of 8x8 with 1 channel, the data now has 16x16 with "
            "3 channels; set data.image_size and data.channels as they were, or start a new run "
            "with --out");
}

TEST_F(Resuming, WhatMayChangeIsListed) {
  const Resumption found = compare(
      {"optimizer.lr=1e-5", "optimizer.decay=constant", "data.flip=true", "train.sample_every=10"});
  EXPECT_EQ(found.changes,
            (std::vector<std::string>{"data.flip false -> true", "train.sample_every 0 -> 10",
                                      "optimizer.lr 0.001 -> 1e-05",
                                      "optimizer.decay \"cosine\" -> \"constant\""}));
  EXPECT_EQ(found.config, text("config.toml"));
}

TEST_F(Resuming, KeysThatAFormerConfigLacksCountWithTheirDefaults) {
  std::string config = text("config.toml");
  config = replaced(config, "grad_clip = 1.0\n", "");
  config = replaced(config, "peer_timeout = 600\n", "");
  write("config.toml", config);
  EXPECT_TRUE(compare().changes.empty());
  EXPECT_EQ(compare({"optimizer.grad_clip=2"}).changes,
            std::vector<std::string>{"optimizer.grad_clip 1.0 -> 2.0"});
}

// Cosine: half-way at step 51 of 100 the rate is lr / 2; of 200 steps it is 0.5 (1 + cos(pi/4)).
TEST_F(Resuming, AJumpOfTheLearningRateIsSaid) {
  EXPECT_EQ(compare({"train.steps=200"}).rate,
            "the learning rate goes from 0.000516 at step 50 to 0.000854 at step 51: it is set by "
            "optimizer.lr, warmup_steps and decay, which runs to train.steps = 200");
  EXPECT_EQ(compare({"train.log_every=7"}).rate, "");
}

TEST_F(Resuming, OtherImagesOfTheSameNumberAreSaid) {
  const std::string print = OpenRun(kConfig).data->fingerprint();
  write("state.json", replaced(text("state.json"), print, "0123456789abcdef"));
  EXPECT_EQ(compare().changes,
            std::vector<std::string>{"the images of the data (as many, but with other names or "
                                     "sizes: 0123456789abcdef -> " +
                                     print + ")"});
  // Former versions wrote none.
  write("state.json",
        replaced(text("state.json"), "  \"dataset_fingerprint\": \"0123456789abcdef\",\n", ""));
  EXPECT_TRUE(compare().changes.empty());
}

TEST_F(Resuming, ClassesKeepTheirNumbersHoweverTheyAreSortedNow) {
  OpenRun run(kConfig, {"model.class_conditional=true"});
  std::string model = run.model_toml;
  const std::vector<std::string> names = run.data->class_names();
  ASSERT_GE(names.size(), 2u);
  model = replaced(model, "[\"" + names[0] + "\", \"" + names[1] + "\"",
                   "[\"" + names[1] + "\", \"" + names[0] + "\"");
  write("model.toml", model);
  EXPECT_TRUE(classes_of_run("", run.experiment, *run.data).empty());
  const auto numbers = classes_of_run(folder_.path(), run.experiment, *run.data);
  ASSERT_EQ(numbers.size(), names.size());
  EXPECT_EQ(numbers[0], 1);
  EXPECT_EQ(numbers[1], 0);
  const data::Split split = in_class_order({run.data, nullptr}, numbers);
  run.model_toml =
      nn::to_toml({run.experiment.unet, run.experiment.diffusion, split.training->class_names()});
  EXPECT_EQ(run.model_toml, model);
  // Other classes are other data.
  write("model.toml", replaced(model, "\"" + names[0] + "\"", "\"else\""));
  EXPECT_TRUE(classes_of_run(folder_.path(), run.experiment, *run.data).empty());
  EXPECT_THROW(compare_with(folder_.path(), run.identity()), IoError);
}

std::string untrainable(const std::vector<std::string>& changes, bool begins, bool given) {
  OpenRun run(kConfig, changes);
  try {
    check_trainable(run.experiment, run.document, begins, given);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(Trainable, ALearnedVarianceIsRefusedUnlessItWasLearnedElsewhere) {
  const std::vector<std::string> learned{"model.learned_variance=true"};
  EXPECT_EQ(
      untrainable(learned, true, false),
      "--set model.learned_variance=true: model.learned_variance: is true, but train.loss = "
      "\"simple\" learns no variance: half of the outputs would stay random; set train.loss = "
      "\"hybrid\", or this to false");
  EXPECT_EQ(untrainable({"model.learned_variance=true", "train.loss=hybrid"}, true, false), "");
  EXPECT_EQ(untrainable({"model.learned_variance=true", "train.loss=vlb"}, true, false), "");
  EXPECT_NE(untrainable({"train.loss=hybrid"}, true, false).find("needs model.learned_variance"),
            std::string::npos);
  EXPECT_EQ(untrainable(learned, true, true), "");
  EXPECT_EQ(untrainable(learned, false, false), "");
  EXPECT_EQ(untrainable({}, true, false), "");
}

TEST(Trainable, MuIsRefusedWithBf16) {
  EXPECT_EQ(untrainable({"diffusion.prediction=mu"}, true, false), "");
  EXPECT_NE(untrainable({"diffusion.prediction=mu", "train.precision=bf16"}, true, false), "");
  EXPECT_EQ(untrainable({"diffusion.prediction=mu", "train.precision=bf16"}, false, false), "");
  EXPECT_EQ(untrainable({"train.precision=bf16"}, true, false), "");
}

// 0.9999^500 = 0.951, 0.9999^29956 = 0.05.
TEST(YoungAverage, IsSaidAsLongAsItShowsItsBeginning) {
  EXPECT_EQ(checkpoint::young_average(0.9999, false, 500),
            "after 500 steps the average of decay 0.9999 still is 95 % the weights that training "
            "began with");
  EXPECT_NE(checkpoint::young_average(0.9999, false, 29900), "");
  EXPECT_EQ(checkpoint::young_average(0.9999, false, 30000), "");
  EXPECT_EQ(checkpoint::young_average(0.9999, true, 500), "");
}

TEST_F(Resuming, AYoungAverageOfACheckpointIsSaid) {
  EXPECT_EQ(checkpoint::young_average(folder_.path(), "ema"), "");
  write("state.json", replaced(text("state.json"), "\"step\": 50", "\"step\": 10"));
  write("config.toml", replaced(text("config.toml"), "warmup = true", "warmup = false"));
  EXPECT_EQ(checkpoint::young_average(folder_.path(), "ema"),
            "after 10 steps the average of decay 0.9 still is 35 % the weights that training "
            "began with");
  EXPECT_EQ(checkpoint::young_average(folder_.path(), "ema-2"), "");
  EXPECT_EQ(checkpoint::young_average(folder_.path(), "raw"), "");
}

TEST(RunLockProbe, FindsAHolderAndMakesNothing) {
  const TemporaryFolder folder;
  checkpoint::RunLock::expect_free(folder.path());
  EXPECT_FALSE(fs::exists(folder / "run.lock"));
  {
    const checkpoint::RunLock lock(folder.path());
    EXPECT_THROW(checkpoint::RunLock::expect_free(folder.path()), IoError);
  }
  checkpoint::RunLock::expect_free(folder.path());
  const checkpoint::RunLock again(folder.path());
}

}  // namespace
}  // namespace ddpm::train
