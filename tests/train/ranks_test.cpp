#include "ddpm/io/file.h"
#include "ddpm/train/learner.h"
#include "tests/dist/start_world.h"
#include "tests/io/temporary_folder.h"
#include "tests/train/small_experiment.h"

#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::train {
namespace {

using namespace std::chrono_literals;

class RanksOf : public testing::TestWithParam<std::tuple<int64_t, bool>> {};

// Each rank sees its own images and drops its own units; the weights stay the same bits.
TEST_P(RanksOf, WeightsStayBitEqualAndTheSnapshotComesBack) {
  const auto [ranks, divided] = GetParam();
  const TemporaryFolder folder;
  dist::expect_success(dist::start_world(ranks, 60s, [&, divided = divided](const auto& world) {
    const Experiment experiment =
        small_experiment({"train.batch_size=8", "ema.power_lengths=[0.05, 0.1]",
                          divided ? "train.shard_optimizer=true" : "train.shard_optimizer=false"});
    const auto dataset = data::open_dataset(experiment.data, 0);
    data::Loader loader(*dataset, loader_options(experiment, world));
    Learner learner(experiment, torch::kCPU, world);
    learner.begin_();
    for (int64_t step = 1; step <= 4; ++step) learner.step_(loader.next(), step);

    std::string bytes;
    for (const torch::Tensor& p : learner.unet()->parameters()) {
      const torch::Tensor plain = p.detach().contiguous();
      bytes.append(static_cast<const char*>(plain.data_ptr()), plain.nbytes());
    }
    io::write_file_synced(folder / std::to_string(world.rank()), bytes);

    // What was saved and restored goes on like what was not.
    const checkpoint::TrainingTensors saved = learner.snapshot();
    Learner again(experiment, torch::kCPU, world);
    again.restore_(saved);
    const data::Batch batch = loader.next();
    learner.step_(batch, 5);
    again.step_(batch, 5);
    const checkpoint::TrainingTensors a = learner.snapshot(), b = again.snapshot();
    if (a.averages.size() != b.averages.size()) return 1;
    if (a.power_averages.size() != b.power_averages.size()) return 1;
    for (size_t i = 0; i < a.weights.size(); ++i) {
      if (!a.weights[i].equal(b.weights[i])) return 2;
      if (!a.averages[1][i].equal(b.averages[1][i])) return 3;
      if (!a.second_moments[i].equal(b.second_moments[i])) return 4;
      if (!a.power_averages[1][i].equal(b.power_averages[1][i])) return 5;
    }
    const auto stored = again.stored_power_averages();
    if (stored.size() != 2 || stored[1].size() != a.weights.size()) return 6;
    for (size_t i = 0; i < stored[1].size(); ++i) {
      if (!stored[1][i].equal(a.power_averages[1][i].to(torch::kHalf))) return 7;
    }
    return 0;
  }));
  const auto first = io::read_file(folder / "0");
  EXPECT_GT(first.size(), size_t{100000});
  for (int64_t rank = 1; rank < ranks; ++rank)
    EXPECT_EQ(io::read_file(folder / std::to_string(rank)), first) << "rank " << rank;
}

INSTANTIATE_TEST_SUITE_P(All, RanksOf, testing::Combine(testing::Values(2, 4), testing::Bool()));

// The bytes of every extra of a run of `ranks` processes, by rank.
std::vector<std::vector<uint8_t>> extras_of(int64_t ranks, const std::string& rounds) {
  const TemporaryFolder folder;
  dist::expect_success(dist::start_world(ranks, 60s, [&](const auto& world) {
    const Experiment experiment = small_experiment(
        {"train.batch_size=20", "train.t_sampling=\"loss_second_moment\"", "model.dropout=0.0",
         "diffusion.timesteps=2", "train.loss_weight=\"learned\"", "train.noise_scale_every=1",
         "train.accumulate=" + rounds});
    const auto dataset = data::open_dataset(experiment.data, 0);
    data::Loader loader(*dataset, loader_options(experiment, world));
    Learner learner(experiment, torch::kCPU, world);
    learner.begin_();
    for (int64_t step = 1; step <= 6; ++step) learner.step_(loader.next(), step);
    std::string bytes;
    const auto add = [&](const torch::Tensor& t) {
      const torch::Tensor plain = t.detach().to(torch::kDouble).contiguous();
      bytes.append(static_cast<const char*>(plain.data_ptr()), plain.nbytes());
    };
    const std::vector<torch::Tensor> history = learner.settings().history->state();
    add(history[1]);
    add(history[0]);
    for (const torch::Tensor& p : learner.settings().uncertainty->parameters()) add(p);
    const auto noise = learner.noise_scale();
    if (!noise) return 1;
    add(torch::tensor({noise->gradient, noise->noise}, torch::kDouble));
    io::write_file_synced(folder / std::to_string(world.rank()), bytes);
    return 0;
  }));
  std::vector<std::vector<uint8_t>> result;
  for (int64_t rank = 0; rank < ranks; ++rank)
    result.push_back(io::read_file(folder / std::to_string(rank)));
  return result;
}

std::vector<double> numbers_in(const std::vector<uint8_t>& bytes) {
  std::vector<double> numbers(bytes.size() / sizeof(double));
  std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

// Losses enter the history in the order of the images, and every rank has the whole history.
TEST(Ranks, HaveTheHistoryAndTheLearnedWeightOfASingleProcess) {
  const std::vector<double> single = numbers_in(extras_of(1, "4")[0]);
  ASSERT_EQ(single.size(), 2u + 20 + 129 + 2);
  EXPECT_GE(std::min(single[0], single[1]), 10.0) << "the history is to be full";
  EXPECT_EQ(single[0] + single[1], 120.0);
  for (const auto& [ranks, rounds] :
       std::vector<std::pair<int64_t, std::string>>{{2, "2"}, {4, "1"}}) {
    const auto all = extras_of(ranks, rounds);
    for (const auto& other : all) EXPECT_EQ(other, all[0]) << ranks << " ranks";
    const std::vector<double> numbers = numbers_in(all[0]);
    ASSERT_EQ(numbers.size(), single.size());
    for (size_t i = 0; i < numbers.size(); ++i) {
      // Counts are equal; else gradients are summed in another order, and Adam divides by them.
      const double tolerance = i < 2 ? 0.0 : 1e-4 + 2e-3 * std::abs(single[i]);
      EXPECT_NEAR(numbers[i], single[i], tolerance) << ranks << " ranks, number " << i;
    }
  }
}

}  // namespace
}  // namespace ddpm::train
