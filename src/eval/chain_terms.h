#pragma once

#include "ddpm/eval/likelihood.h"

#include <cstdint>

#include <torch/types.h>

namespace ddpm::eval {

/// The sum over an image's elements: [B].
torch::Tensor per_image(const torch::Tensor& x);

/// The terms of the bound of a chain, one per jump, numbered 1..S by ascending t. Jump 1 ends at s =
/// 0. The chain is that of all T steps or of options.plan (docs/math.md, "The bound of fewer steps").
class ChainTerms {
 public:
  /// c10::Error if the plan is not a chain down to 0, or the analytic variance lacks its numbers.
  ChainTerms(const diffusion::Diffusion& diffusion, const LikelihoodOptions& options);

  int64_t count() const { return static_cast<int64_t>(ascending_.size()); }
  /// The t that a jump begins at.
  int64_t time(int64_t jump) const { return ascending_.at(static_cast<size_t>(jump - 1)).t; }
  /// The same for int64 [B].
  torch::Tensor times(const torch::Tensor& jump) const;

  /// KL(q(x_t | x_0) || N(0,I)) at the first t: nats, float64 [B].
  torch::Tensor prior(const torch::Tensor& x0) const;
  /// The term of each image for its jump, int64 [B]: nats, float64 [B]. Others: as
  /// diffusion::variational_term.
  torch::Tensor term(const torch::Tensor& output, const torch::Tensor& x0, const torch::Tensor& x_t,
                     const torch::Tensor& jump) const;

 private:
  torch::Tensor log_variance(const torch::Tensor& weight, const torch::Tensor& jump) const;

  diffusion::Diffusion diffusion_;
  ModelVariance variance_;
  bool clip_, all_steps_;
  std::vector<sample::PlanStep> ascending_;
  // By jump - 1, on the device: t, and float64 x_0's weight in the posterior mean, log beta_tilde
  // (of the jump before for the last), and the logarithms that the model's variance lies between.
  torch::Tensor times_, weight_, log_true_, log_low_, log_high_;
};

}  // namespace ddpm::eval
