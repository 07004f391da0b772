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
  int64_t subset_size = 1000;  ///< no more than the vectors on either side are used
  uint64_t seed = 0;           ///< of the subsets
};

/// Mean over random subsets of both without repetition, as torch-fidelity does it; every vector is
/// in as many subsets as any other, or in one more. x: reference, y: samples dealt to `groups`.
/// Error: the jackknife's over the groups of samples.
Measured kernel_distance(const torch::Tensor& x, const torch::Tensor& y, const SampleGroups& groups,
                         const KernelOptions& options);

}  // namespace ddpm::eval
