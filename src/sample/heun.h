#pragma once

#include "ddpm/sample/sample_config.h"
#include "ddpm/sample/sampler.h"
#include "jump.h"

#include <cstdint>
#include <memory>
#include <optional>

#include <torch/types.h>

namespace ddpm::sample {

/// Euler's method on dy/dsigma = eps_hat with y = x / sqrt(alpha_bar) (Karras 2022, Algorithm 1
/// without line 6): the same as DDIM with eta 0.
std::unique_ptr<Sampler> make_euler(const SampleConfig& config,
                                    const diffusion::Schedule& schedule);

/// Heun's method on the same ODE (Karras 2022, Algorithm 1): two network calls per step, one in the
/// last step, and in a step from alpha_bar = 0.
class Heun : public Sampler {
 public:
  /// The first `euler_steps` steps are Euler's, which makes up an even number of calls.
  Heun(const diffusion::Schedule& schedule, int64_t euler_steps)
      : schedule_(schedule), euler_steps_(euler_steps) {}
  torch::Tensor step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                     const StepNoise& noise) override;

 private:
  diffusion::Schedule schedule_;
  int64_t euler_steps_;  // still to be made
};

std::unique_ptr<Sampler> make_heun(const SampleConfig& config, const diffusion::Schedule& schedule);
/// As check_solver; the last step of fewer calls ends at s = 0 alone.
std::optional<Conflict> check_heun(const SampleConfig& config);
/// The steps of so many calls: S / 2 + 1, rounded down. If alpha_bar_T = 0, the first step has one
/// call, and an odd S > 1 takes one step more.
int64_t heun_steps(int64_t calls, const diffusion::Schedule& schedule);

}  // namespace ddpm::sample
