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

/// The first `images` images in rows of `columns`.
struct AnimatedGrid {
  int64_t images, columns;
};
/// A grid of at most 64 of `images` images of that size, in at most 800 x 800 pixels if an image has
/// no more. columns: those it is to have; 0: nearly square.
AnimatedGrid animated_grid(int64_t images, int64_t height, int64_t width, int64_t columns);

/// Columns of a Trajectory for an animation: about four seconds.
inline constexpr int64_t kAnimatedSteps = 40;

/// An animated PNG of x0_hat on the way, and then the finished images, which are shown longer; they
/// are also what programs without animation show. finished: the images as Trajectory::frames
/// arranges them in rows of `columns`, uint8 [C,H,W].
std::vector<uint8_t> denoising_animation(const Trajectory& trajectory,
                                         const torch::Tensor& finished, int64_t columns);

/// An animated PNG of the images in turn, forth and back, enlarged if they are small: uint8
/// [N,C,H,W], two or more.
std::vector<uint8_t> back_and_forth(const torch::Tensor& images);

}  // namespace ddpm::sample
