#include "heun.h"

#include "ddim.h"

#include <cmath>
#include <utility>

#include <torch/types.h>

namespace ddpm::sample {

std::unique_ptr<Sampler> make_euler(const SampleConfig&, const diffusion::Schedule& schedule) {
  return std::make_unique<DdimSampler>(schedule, DdimNoise{});
}

torch::Tensor Heun::step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                         const StepNoise&) {
  const diffusion::Estimate at_t = estimate(x_t, step.t);
  const Jump jump(schedule_, step);
  const torch::Tensor euler = first_order_step(jump, at_t);
  // With alpha_bar_t = 0, y is infinite.
  if (std::exchange(euler_, false) || step.s == 0 || !std::isfinite(jump.sigma_t)) return euler;
  const torch::Tensor difference = estimate(euler, step.s).eps - at_t.eps;
  return euler + 0.5 * jump.a_s * (jump.sigma_s - jump.sigma_t) * difference;
}

std::unique_ptr<Sampler> make_heun(const SampleConfig& config,
                                   const diffusion::Schedule& schedule) {
  const int64_t calls = config.steps == 0 ? schedule.timesteps() : config.steps;
  return std::make_unique<Heun>(schedule, config.steps_at.empty() && calls % 2 == 0);
}

int64_t heun_steps(int64_t calls) { return calls / 2 + 1; }

}  // namespace ddpm::sample
