#pragma once

#include "ddpm/eval/jackknife.h"

#include <cstdint>

#include <torch/types.h>

namespace ddpm::eval {

/// The unbiased estimate of MMD^2 with k(x, y) = (x.y / D + 1)^3 (Binkowski 2018, "KID"). x: [M,D],
/// y: [N,D], at least two each; computed in float64. May be slightly negative.
double kernel_distance(const torch::Tensor& x, const torch::Tensor& y);

struct KernelOptions {
  int64_t subsets = 100;
  int64_t subset_size = 1000;  ///< at most as many as there are vectors on either side
  uint64_t seed = 0;           ///< of the subsets
};

/// The mean over random subsets of both without repetition, as in torch-fidelity. Each vector is in
/// equally many subsets, or in one more. x: reference, y: samples with their `groups`. Error: a
/// jackknife over the groups.
Measured kernel_distance(const torch::Tensor& x, const torch::Tensor& y, const SampleGroups& groups,
                         const KernelOptions& options);

}  // namespace ddpm::eval
