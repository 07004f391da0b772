#pragma once

#include "ddpm/sample/sample_config.h"
#include "ddpm/sample/sampler.h"
#include "jump.h"

#include <cstdint>
#include <memory>

#include <torch/types.h>

namespace ddpm::sample {

/// Euler's method on dy/dsigma = eps_hat with y = x / sqrt(alpha_bar) (Karras 2022, Algorithm 1
/// without line 6): the same as DDIM with eta 0.
std::unique_ptr<Sampler> make_euler(const SampleConfig& config,
                                    const diffusion::Schedule& schedule);

/// Heun's method on the same ODE (Karras 2022, Algorithm 1): two network calls per step, one in the
/// last step. For an even number of calls the first step is Euler's.
class Heun : public Sampler {
 public:
  Heun(const diffusion::Schedule& schedule, bool euler_first)
      : schedule_(schedule), euler_(euler_first) {}
  torch::Tensor step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                     const StepNoise& noise) override;

 private:
  diffusion::Schedule schedule_;
  bool euler_;  // the next step is Euler's
};

std::unique_ptr<Sampler> make_heun(const SampleConfig& config, const diffusion::Schedule& schedule);
/// The steps of so many calls: S / 2 + 1, rounded down.
int64_t heun_steps(int64_t calls);

}  // namespace ddpm::sample
