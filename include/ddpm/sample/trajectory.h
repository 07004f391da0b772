#pragma once

#include "ddpm/sample/reverse_process.h"

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace ddpm::sample {

/// Collects x0_hat of some images at a few steps (Ho 2020, Fig. 6), for a picture with one row per
/// image and one column per step.
class Trajectory {
 public:
  /// Of the first `rows` images, at no more than `columns` of the plan's steps, evenly spread and
  /// with the last one, which is the finished image.
  Trajectory(const std::vector<PlanStep>& plan, int64_t rows, int64_t columns);

  /// To be called with every step of every batch; see GenerateOptions::observer.
  void observe(int64_t first, const TrajectoryPoint& point);

  /// The t of each column.
  const std::vector<int64_t>& times() const { return times_; }
  /// uint8 [rows * columns, C, H, W], row by row: fewer rows if fewer images were sampled.
  torch::Tensor cells() const;
  /// Column by column, as a grid of the images in rows of `columns`, enlarged if they are small: uint8
  /// [K,C,H',W'], one for each of times().
  torch::Tensor frames(int64_t columns) const;
  /// The cells as one picture, enlarged if they are small: uint8 [C,H',W'].
  torch::Tensor picture() const;

 private:
  int64_t rows_;
  std::vector<int64_t> positions_, times_;
  std::vector<std::vector<torch::Tensor>> estimates_;  // a column each: uint8 [B,C,H,W] a batch
};

}  // namespace ddpm::sample
