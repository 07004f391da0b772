#pragma once

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace ddpm::train {

/// Importance sampling of t (Nichol 2021, Sec. 3.3, Eq. 18): p_t is proportional to sqrt(E L_t^2),
/// estimated from the last 10 losses of each t, and mixed with a thousandth of the uniform density,
/// so that every t goes on being drawn. The weight 1 / (T p_t) keeps the mean loss unbiased. Until
/// every t has 10 losses, t is uniform. All state is in tensors on one device; no host sync.
class TimestepHistory {
 public:
  static constexpr int64_t kLosses = 10;               ///< kept for each t
  static constexpr double kUniformShare = 0.001;       ///< of the uniform density in p
  static constexpr int64_t kParts = int64_t{1} << 31;  ///< p_t is a multiple of 1 / kParts

  TimestepHistory(int64_t timesteps, const torch::Device& device);

  /// The t of each number `part`, int64 [B] uniform in 1..kParts: int64 [B] in 1..T with density p.
  /// Until every t has its losses: `uniform`, int64 [B].
  torch::Tensor draw(const torch::Tensor& part, const torch::Tensor& uniform) const;
  /// 1 / (T p_t) of t, int64 [B] in 1..T: float64 [B]. 1 until every t has its losses.
  torch::Tensor weight(const torch::Tensor& t) const;
  /// Adds the losses, [N] of any float type, of a whole batch with t int64 [N] in 1..T, in their
  /// order: if a t occurs several times, the last ones are kept. A loss that is not finite is left
  /// out.
  void add_(const torch::Tensor& t, const torch::Tensor& losses);

  /// The losses, float64 [T, 10], and how many each t had so far, int64 [T], for checkpoints. Loss
  /// number n of a t (0, 1, ...) is in column n mod 10.
  std::vector<torch::Tensor> state() const;
  /// Computes p from the state. Call after a change of the state's tensors.
  void refresh_();

 private:
  int64_t timesteps_;
  torch::Tensor losses_, counts_;  // of t = 0..T; row 0 takes what is left out
  torch::Tensor ready_;            // whether every t has its losses: bool scalar
  torch::Tensor ends_;             // kParts * sum of p_1..p_t, int64 [T]
  torch::Tensor weights_;          // of t = 0..T, float64
};

}  // namespace ddpm::train
