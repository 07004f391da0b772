#pragma once

#include "ddpm/diffusion/diffusion.h"

#include <torch/types.h>

namespace ddpm::diffusion {

/// What a self-conditioned network reads of its own output at (x_t, t): x0_hat, clamped to [-1,1],
/// without a gradient, in x_t's dtype (Chen 2022, "Analog Bits", Sec. 2.3). The clamp bounds the
/// x0_hat of an eps near t = T, which is amplified by 1/sqrt(alpha_bar).
torch::Tensor own_estimate(const Diffusion& diffusion, const torch::Tensor& output,
                           const torch::Tensor& x_t, const torch::Tensor& t);

/// The memory of a self-conditioned chain: own_estimate of the former network call, zeros before
/// the first (Chen 2022, Algorithm 2). It counts calls, not steps: the second call of a method with two
/// calls per step reads the estimate of the first. Copies share the tensor.
class SelfConditioning {
 public:
  /// For batches of at most sizes[0] images; sizes: [batch,C,H,W].
  SelfConditioning(const Diffusion& diffusion, torch::IntArrayRef sizes,
                   const torch::TensorOptions& options);

  /// What the next call reads, [batch,C,H,W], of which a batch of B images uses the first B. Its
  /// address never changes, as a CUDA graph requires.
  const torch::Tensor& estimate() const { return estimate_; }
  /// Back to zeros. Call it before each chain.
  void reset_() { estimate_.zero_(); }
  /// `network`, which reads estimate(), with its own estimate remembered after each call.
  Denoiser remembering(Denoiser network) const;

 private:
  Diffusion diffusion_;
  torch::Tensor estimate_;
};

}  // namespace ddpm::diffusion
