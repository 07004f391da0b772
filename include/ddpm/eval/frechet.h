#pragma once

#include "ddpm/eval/jackknife.h"
#include "ddpm/eval/moments.h"

#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// Frechet distances from one fixed distribution (Heusel 2017, "FID"):
///   |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)).
/// The last trace is the sum of the singular values of A^T B, where S_a = A A^T and S_b = B B^T.
/// A and B come from symmetric eigenvalue problems; eigenvalues below rounding are set to 0. This
/// avoids the square root of a non-symmetric product, which may be complex or singular. It also
/// works with fewer vectors than dimensions.
class FrechetDistance {
 public:
  explicit FrechetDistance(Gaussian from);

  double to(const Gaussian& other) const;
  /// The distance to all groups together. The error is a jackknife over the groups
  /// (jackknife_error).
  Measured to(const std::vector<Moments>& groups) const;

 private:
  double roughly_to(const Gaussian& other) const;
  Gaussian from_;
  torch::Tensor factor_;  // A: [D, rank]
};

}  // namespace ddpm::eval
