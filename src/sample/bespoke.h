#pragma once

#include "ddpm/sample/sample_config.h"
#include "ddpm/sample/sampler.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include <torch/types.h>

namespace ddpm::sample {

/// The estimates x0_hat that a step of method "bespoke" reads: its own and those of the steps before.
inline constexpr int64_t kBespokeEstimates = 3;

/// x0_hat of the last steps, the newest first.
class RecentEstimates {
 public:
  void push(const torch::Tensor& x0);
  const std::deque<torch::Tensor>& all() const { return x0_; }

 private:
  std::deque<torch::Tensor> x0_;
};

/// plain + weights[0] x_t + weights[1] x0[0] + weights[2] x0[1] + ...
torch::Tensor with_weights(const torch::Tensor& plain, const std::vector<double>& weights,
                           const torch::Tensor& x_t, const std::deque<torch::Tensor>& x0);

/// A multistep method whose weights were fitted to the network (bespoke_fit.h): the
/// non-stationary solvers of Shaul 2024. A step that has no fitted weights is DDIM's.
class Bespoke : public Sampler {
 public:
  Bespoke(const diffusion::Schedule& schedule, std::vector<BespokeStep> fitted);
  torch::Tensor step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                     const StepNoise& noise) override;

 private:
  diffusion::Schedule schedule_;
  std::vector<BespokeStep> fitted_;
  RecentEstimates recent_;
};

std::optional<Conflict> check_bespoke(const SampleConfig& config);
std::unique_ptr<Sampler> make_bespoke(const SampleConfig& config,
                                      const diffusion::Schedule& schedule);

}  // namespace ddpm::sample
