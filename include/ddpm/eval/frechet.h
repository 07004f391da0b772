#pragma once

#include "ddpm/eval/jackknife.h"
#include "ddpm/eval/moments.h"

#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// Frechet distances from one fixed distribution (Heusel 2017, "FID"):
///   |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)).
/// The last trace is the sum of the singular values of A^T B, where S_a = A A^T and S_b = B B^T
/// come from symmetric eigenvalue problems whose eigenvalues below rounding are taken as 0: no
/// square root of a product that is not symmetric, so nothing complex and nothing singular, also
/// where there are fewer vectors than dimensions.
class FrechetDistance {
 public:
  explicit FrechetDistance(Gaussian from);

  double to(const Gaussian& other) const;
  /// The distance to all groups together; its error leaves out a group at a time (jackknife_error).
  Measured to(const std::vector<Moments>& groups) const;

 private:
  double roughly_to(const Gaussian& other) const;
  Gaussian from_;
  torch::Tensor factor_;  // A: [D, rank]
};

}  // namespace ddpm::eval
