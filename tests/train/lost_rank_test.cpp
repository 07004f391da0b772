#include "ddpm/base/error.h"
#include "ddpm/train/learner.h"
#include "tests/dist/start_world.h"
#include "tests/train/small_experiment.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <torch/utils.h>

namespace ddpm::train {
namespace {

using namespace std::chrono_literals;

constexpr int kKilled = 7;

// With all that a step can change. float64: sums of other ranks differ by 1e-16.
Experiment whole_experiment(const std::vector<std::string>& changes = {}) {
  std::vector<std::string> all{"train.batch_size=12",
                               "train.accumulate=2",
                               "train.precision=\"fp64\"",
                               "train.t_sampling=\"loss_second_moment\"",
                               "train.loss_weight=\"learned\"",
                               "train.noise_scale_every=2",
                               "train.loss_bins=3",
                               "model.dropout=0.0",
                               "diffusion.timesteps=6",
                               "ema.power_lengths=[0.1]",
                               "run.on_lost_rank=\"shrink\""};
  all.insert(all.end(), changes.begin(), changes.end());
  return small_experiment(all);
}

std::vector<torch::Tensor> all_of(const checkpoint::TrainingTensors& t) {
  std::vector<torch::Tensor> all = t.weights;
  for (const auto& average : t.averages) all.insert(all.end(), average.begin(), average.end());
  for (const auto& average : t.power_averages)
    all.insert(all.end(), average.begin(), average.end());
  all.insert(all.end(), t.first_moments.begin(), t.first_moments.end());
  all.insert(all.end(), t.second_moments.begin(), t.second_moments.end());
  all.push_back(t.updates);
  for (const io::NamedTensor& extra : t.extras) all.push_back(extra.tensor);
  return all;
}

bool same_bits(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const torch::Tensor& x, const torch::Tensor& y) { return x.equal(y); });
}

// The largest difference, relative to the tensor's largest element.
double difference(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  double largest = a.size() == b.size() ? 0.0 : 1.0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double scale = std::max(a[i].abs().max().item<double>(), 1e-3);
    largest = std::max(largest, (a[i] - b[i]).abs().max().item<double>() / scale);
  }
  return largest;
}

bool close(double a, double b) { return std::abs(a - b) <= 1e-9 * std::abs(b); }

// Fails with the number of the check.
#define CHECK_OR_RETURN(number, holds)                      \
  if (!(holds)) {                                           \
    std::fprintf(stderr, "check %d: %s\n", number, #holds); \
    return number;                                          \
  }

// Two learners take the same four steps on three ranks. On rank 0 the one takes the fifth step and the
// other does not, as if the loss of rank 2 had come between the ranks' sums.
TEST(LostRank, WhoIsBehindReceivesTheStateAndBothGoOnLikeASingleProcess) {
  const auto children =
      dist::start_world(3, 60s, dist::OnLostRank::kShrink, [](dist::World& world) {
        const Experiment experiment = whole_experiment();
        const auto dataset = data::open_dataset(experiment.data, 0);
        auto loader = open_batches(experiment, *dataset, torch::kCPU, world);
        Learner ahead(experiment, torch::kCPU, world), behind(experiment, torch::kCPU, world);
        ahead.begin_();
        behind.begin_();
        const int64_t first = world.rank();
        for (int64_t step = 1; step <= 5; ++step) {
          const data::Batch batch = loader->next();
          ahead.step_(batch, step);
          if (step < 5) behind.step_(batch, step);
        }
        if (first == 2) std::_Exit(kKilled);
        try {
          world.barrier();
          return 1;
        } catch (const dist::RankLost&) {
        }
        Learner& learner = first == 0 ? behind : ahead;
        const dist::Regrouped now = world.regroup_(first == 0 ? 4 : 5);
        CHECK_OR_RETURN(2, now.step == 5 && now.from == 1);
        const bool was_behind = first == 0;
        learner.regroup_(now.from, was_behind);
        if (first == 0) {
          CHECK_OR_RETURN(3, same_bits(all_of(behind.snapshot()), all_of(ahead.snapshot())));
          const MetricsReading a = behind.metrics().peek(), b = ahead.metrics().peek();
          CHECK_OR_RETURN(4, a.loss == b.loss && a.grad_norm == b.grad_norm);
        }

        // A single process without a loss.
        const Experiment alone = whole_experiment({"train.accumulate=1"});
        data::Loader all(*dataset, loader_options(alone));
        Learner reference(alone, torch::kCPU);
        reference.begin_();
        for (int64_t step = 1; step <= 8; ++step) reference.step_(all.next(), step);

        loader = open_batches(experiment, *dataset, torch::kCPU, world);
        loader->seek(5);
        for (int64_t step = 6; step <= 8; ++step) {
          const data::Batch batch = loader->next();
          CHECK_OR_RETURN(5, batch.ids.size(0) == 6);
          learner.step_(batch, step);
        }
        CHECK_OR_RETURN(6, learner.rounds() == 3);  // micro-batches of 2 images, as before
        const MetricsReading a = learner.read_metrics(), b = reference.read_metrics();
        CHECK_OR_RETURN(7, close(a.loss, b.loss) && close(a.grad_norm, b.grad_norm));
        const auto bins = learner.read_loss_bins(), others = reference.read_loss_bins();
        CHECK_OR_RETURN(8, bins.size() == 3 && close(bins[2].loss, others[2].loss));
        if (first != 0) return 0;
        auto ours = all_of(learner.snapshot()), theirs = all_of(reference.snapshot());
        ours.pop_back();  // the noise scale depends on the number of ranks
        theirs.pop_back();
        const double found = difference(ours, theirs);
        std::fprintf(stderr, "differs from a single process by %.2g\n", found);
        CHECK_OR_RETURN(9, found < 1e-7);
        return 0;
      });
  EXPECT_EQ(wait_for(children[0]), 0);
  EXPECT_EQ(wait_for(children[1]), 0);
  EXPECT_EQ(wait_for(children[2]), kKilled);
}

class LostRankInPass : public testing::TestWithParam<int> {};

// A rank that is lost at any point of a step leaves the others at the step's beginning or end, never
// between. Each step has two passes for the noise scale, and then two for the update.
TEST_P(LostRankInPass, AnInterruptedStepChangesNothing) {
  const int last_pass = GetParam();
  const auto children =
      dist::start_world(3, 60s, dist::OnLostRank::kShrink, [last_pass](dist::World& world) {
        const Experiment experiment = whole_experiment();
        const auto dataset = data::open_dataset(experiment.data, 0);
        const auto loader = open_batches(experiment, *dataset, torch::kCPU, world);
        Learner learner(experiment, torch::kCPU, world);
        learner.begin_();
        for (int64_t step = 1; step <= 3; ++step) learner.step_(loader->next(), step);
        std::vector<torch::Tensor> before;
        // Rank 0 alone has a snapshot.
        const auto state = [&] { return all_of(learner.snapshot()); };
        if (world.is_main())
          for (const torch::Tensor& t : state()) before.push_back(t.clone());
        const double loss = learner.metrics().peek().loss;
        int passes = 0;
        if (world.rank() == 2) {
          learner.unet()->parameters()[0].register_hook([&](const torch::Tensor& gradient) {
            if (++passes == last_pass) std::_Exit(kKilled);
            return gradient;
          });
        }
        try {
          learner.step_(loader->next(), 4);  // with a measurement of the noise scale
          return 1;
        } catch (const dist::RankLost&) {
        }
        CHECK_OR_RETURN(2, !world.is_main() || same_bits(before, state()));
        CHECK_OR_RETURN(3, learner.metrics().peek().loss == loss);
        return 0;
      });
  EXPECT_EQ(wait_for(children[0]), 0);
  EXPECT_EQ(wait_for(children[1]), 0);
  EXPECT_EQ(wait_for(children[2]), kKilled);
}

INSTANTIATE_TEST_SUITE_P(Passes, LostRankInPass, testing::Values(1, 2, 3, 4));

// The error of these settings; "" without.
std::string refusal(const std::vector<std::string>& changes, int64_t ranks,
                    const torch::Device& device) {
  config::Document document = small_document(changes);
  const Experiment experiment = read_experiment(document);
  try {
    check_lost_ranks(experiment, document, ranks, device);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(LostRank, WhatCannotShrinkIsRefused) {
  const std::string shrink = "run.on_lost_rank=\"shrink\"";
  EXPECT_EQ(refusal({shrink}, 4, torch::kCPU), "");
  const std::string gpu = refusal({shrink}, 4, torch::Device(torch::kCUDA, 0));
  EXPECT_NE(gpu.find("run.on_lost_rank: = \"shrink\" is for processes on CPUs (gloo)"),
            std::string::npos)
      << gpu;
  const std::string divided = refusal({shrink, "train.shard_optimizer=true"}, 4, torch::kCPU);
  EXPECT_NE(divided.find("train.shard_optimizer = true divides it"), std::string::npos) << divided;
  const std::string few = refusal({shrink, "run.min_ranks=5"}, 4, torch::kCPU);
  EXPECT_NE(few.find("run.min_ranks: is 5, but only 4 processes were started"), std::string::npos)
      << few;
  // What does not concern a single process, or one that does not ask for it.
  EXPECT_EQ(refusal({shrink, "train.shard_optimizer=true"}, 1, torch::Device(torch::kCUDA, 0)), "");
  EXPECT_EQ(refusal({"train.shard_optimizer=true"}, 4, torch::Device(torch::kCUDA, 0)), "");
}

}  // namespace
}  // namespace ddpm::train
