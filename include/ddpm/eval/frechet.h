#pragma once

#include "ddpm/eval/moments.h"

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// A number and how far it would move with other samples.
struct Measured {
  double value = 0.0;
  double error = 0.0;  ///< one standard deviation
};

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
  /// The distance to all groups together; its error is the bootstrap's over the groups
  /// (`replicates` draws of as many groups with repetition, by `seed`, brought to the size of an
  /// error of all by sqrt(K / (K - 1))). At least two groups of two vectors.
  Measured to(const std::vector<Moments>& groups, int64_t replicates, uint64_t seed) const;

 private:
  double cross_trace(const torch::Tensor& covariance) const;
  Gaussian from_;
  torch::Tensor factor_;  // A: [D, rank]
};

}  // namespace ddpm::eval
