#pragma once

#include "ddpm/dist/world.h"
#include "ddpm/eval/jackknife.h"

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// The normal distribution fitted to a set of feature vectors, for Frechet distances.
struct Gaussian {
  int64_t count = 0;         ///< vectors it was fitted to; 0: unknown
  torch::Tensor mean;        ///< float64 [D]
  torch::Tensor covariance;  ///< float64 [D,D], divided by count - 1
};

/// Accumulates mean and covariance of feature vectors in float64 (Chan, Golub and LeVeque 1979).
/// Any order of adding and merging gives the same result up to rounding.
class Moments {
 public:
  explicit Moments(int64_t dimension = 0);

  int64_t count() const { return count_; }
  int64_t dimension() const { return mean_.size(0); }
  /// features: [B,D], any float dtype and device; all calls with the same ones.
  void add(const torch::Tensor& features);
  void merge(const Moments& other);
  /// On the CPU. Needs at least two vectors.
  Gaussian gaussian() const;

  /// Replaces each by the moments of all ranks' vectors together. Every rank has equally many
  /// moments. `device`: of the tensors that ranks exchange.
  static void all_reduce_(std::vector<Moments>& moments, const dist::World& world,
                          const torch::Device& device);

 private:
  void merge(int64_t count, const torch::Tensor& mean, const torch::Tensor& scatter);

  int64_t count_ = 0;
  torch::Tensor mean_;     // float64 [D]
  torch::Tensor scatter_;  // float64 [D,D]: sum of (x - mean)(x - mean)^T
};

/// The moments of all vectors together.
Moments merged(const std::vector<Moments>& moments);

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
