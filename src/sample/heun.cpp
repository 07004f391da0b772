#include "heun.h"

#include "ddim.h"
#include "ddpm/sample/methods.h"
#include "multistep.h"

#include <cmath>

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
  if (euler_steps_-- > 0 || step.s == 0 || !std::isfinite(jump.sigma_t)) return euler;
  return heun_correction(jump, euler, at_t, estimate(euler, step.s));
}

std::unique_ptr<Sampler> make_heun(const SampleConfig& config,
                                   const diffusion::Schedule& schedule) {
  if (!config.steps_at.empty()) return std::make_unique<Heun>(schedule, 0);
  const int64_t calls = calls_of(config, schedule);
  return std::make_unique<Heun>(schedule, 2 * heun_steps(calls, schedule) - 1 - calls);
}

std::optional<Conflict> check_heun(const SampleConfig& config) {
  if (config.last_alpha != LastAlpha::kOne)
    return Conflict{"last_alpha", "= first does not go with method heun"};
  return check_solver(config);
}

int64_t heun_steps(int64_t calls, const diffusion::Schedule& schedule) {
  const bool one_more = calls % 2 == 1 && calls > 1 && !diffusion::has_signal_at_last(schedule);
  return calls / 2 + 1 + (one_more ? 1 : 0);
}

}  // namespace ddpm::sample
