#pragma once

#include "ddpm/data/loader.h"
#include "ddpm/train/learner.h"
#include "tests/base/tape_recorder.h"
#include "tests/train/small_experiment.h"

#include <memory>
#include <vector>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::train {

inline void expect_equal(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].equal(b[i])) << "weight " << i;
}

/// Trains with and without a recorder that replays the step, and expects the same weights.
inline void expect_replayed_with_the_same_bits(const Experiment& experiment) {
  const auto dataset = data::open_dataset(experiment.data, 0);
  data::Loader loader(*dataset, loader_options(experiment));
  Learner plain(experiment, torch::kCPU), taped(experiment, torch::kCPU);
  Tape tape;
  taped.record_by_(std::make_unique<TapeRecorder>(tape));
  for (int64_t step = 1; step <= DeviceGraph::kRunsBefore + 3; ++step) {
    const data::Batch batch = loader.next();
    plain.step_(batch, step);
    taped.step_(batch, step);
  }
  EXPECT_EQ(tape.replayed, 3);
  expect_equal(plain.snapshot().weights, taped.snapshot().weights);
  EXPECT_EQ(tape.operations.front(), tape.operations.back());
}

/// Trains six steps, also with another learner that goes on from the third, and expects the same
/// weights.
inline void expect_continued_with_the_same_bits(const Experiment& experiment) {
  const auto dataset = data::open_dataset(experiment.data, 0);
  data::Loader loader(*dataset, loader_options(experiment));
  Learner whole(experiment, torch::kCPU), second(experiment, torch::kCPU);
  for (int64_t step = 1; step <= 6; ++step) {
    const data::Batch batch = loader.next();
    whole.step_(batch, step);
    if (step == 3) second.restore_(whole.snapshot());
    if (step > 3) second.step_(batch, step);
  }
  expect_equal(whole.snapshot().weights, second.snapshot().weights);
}

}  // namespace ddpm::train
