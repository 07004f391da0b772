#pragma once

#include "ddpm/sample/trajectory.h"

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace ddpm::sample {

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
