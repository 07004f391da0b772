#pragma once

#include "ddpm/dist/world.h"

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// The normal distribution that a Frechet distance sees in a set of feature vectors.
struct Gaussian {
  int64_t count = 0;         ///< vectors it was measured on; 0: not known
  torch::Tensor mean;        ///< float64 [D]
  torch::Tensor covariance;  ///< float64 [D,D], divided by count - 1
};

/// Mean and covariance of feature vectors that are never all in memory, in float64 (Chan, Golub and
/// LeVeque 1979): pieces may be added and merged in any order, the result is the same to rounding.
class Moments {
 public:
  explicit Moments(int64_t dimension = 0);

  int64_t count() const { return count_; }
  int64_t dimension() const { return mean_.size(0); }
  /// features: [B,D], any float dtype and device, which must stay the same.
  void add(const torch::Tensor& features);
  void merge(const Moments& other);
  /// At least two vectors. On the CPU.
  Gaussian gaussian() const;

  /// Each becomes the moments of all ranks' vectors together. Every rank has as many moments;
  /// `device`: where the world's tensors are.
  static void all_reduce_(std::vector<Moments>& moments, const dist::World& world,
                          const torch::Device& device);

 private:
  void merge(int64_t count, const torch::Tensor& mean, const torch::Tensor& scatter);

  int64_t count_ = 0;
  torch::Tensor mean_;     // float64 [D]
  torch::Tensor scatter_;  // float64 [D,D]: sum of (x - mean)(x - mean)^T
};

/// All of them in one.
Moments merged(const std::vector<Moments>& moments);

}  // namespace ddpm::eval
