#include "ddpm/base/progress.h"
#include "ddpm/base/signals.h"
#include "ddpm/data/epoch_sampler.h"
#include "ddpm/train/trainer.h"
#include "tests/io/temporary_folder.h"
#include "tests/train/small_experiment.h"

#include <stdexcept>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::train {
namespace {

// A decoder that throws what no reader of ours throws.
class Broken final : public data::Dataset {
 public:
  explicit Broken(int64_t broken) : broken_(broken) {}
  int64_t size() const override { return 40; }
  data::ImageShape shape() const override { return {1, 8, 8}; }
  int64_t class_count() const override { return 0; }
  std::vector<std::string> class_names() const override { return {}; }
  std::string description() const override { return "forty"; }
  data::Example get(int64_t index) const override {
    if (index == broken_) throw std::runtime_error("the decoder has fallen over");
    return {torch::full({1, 8, 8}, index, torch::kUInt8), -1};
  }

 private:
  int64_t broken_;
};

TEST(Trainer, SavesItsStepsWhateverTheLoaderThrows) {
  const TemporaryFolder folder;
  config::Document document = small_document({"data.cache_mb=0"});
  Experiment experiment = read_experiment(document);
  const int64_t seen_in_step_3 = data::EpochSampler(40, experiment.run.seed).index_of(8);
  data::Split data{std::make_shared<Broken>(seen_in_step_3), nullptr};
  resolve_unet(experiment, document, *data.training);
  StopSignal signal;
  Trainer trainer(experiment, document, data, torch::kCPU, folder / "run", {}, {signal, {}});
  EXPECT_THROW(trainer.run(), std::runtime_error);
  EXPECT_EQ(trainer.step(), 2);
  EXPECT_TRUE(std::filesystem::exists(folder / "run/checkpoints/step-000000002/MANIFEST"));
}

}  // namespace
}  // namespace ddpm::train
