#include "dpm_solver.h"

#include <torch/types.h>

namespace ddpm::sample {

torch::Tensor DpmSolver::step(const PlanStep& step, const torch::Tensor& x_t,
                              const Estimator& estimate, const StepNoise& noise) {
  const diffusion::Estimate at_t = estimate(x_t, step.t);
  const Jump jump(schedule_, step);
  history_.push({jump.lambda_t, at_t.x0});
  const auto known = [&](const torch::Tensor&, int64_t) { return at_t; };
  const torch::Tensor x_s = first_order_.step(step, x_t, known, noise);
  const int64_t order = history_.order(step);
  return order == 1 ? x_s : x_s + correction(jump, order);
}

torch::Tensor DpmSolver::correction(const Jump& jump, int64_t order) const {
  const double q = stochastic_ ? 2 * jump.h : jump.h;
  const double gain = -std::expm1(-q);  // 1 - e^-q
  const double r0 = (history_[0].at - history_[1].at) / jump.h;
  const torch::Tensor d0 = (history_[0].value - history_[1].value) / r0;
  if (order == 2) return 0.5 * jump.a_s * gain * d0;
  const double r1 = (history_[1].at - history_[2].at) / jump.h;
  const torch::Tensor d1 = (history_[1].value - history_[2].value) / r1;
  const torch::Tensor bend = (d0 - d1) / (r0 + r1);
  const double linear = 1 - gain / q;
  const double exact = 1 - 2 * linear / q;
  const double quadratic = quadratic_ == QuadraticTerm::kExact ? exact : exact / 2;
  return jump.a_s * (linear * (d0 + r0 * bend) + quadratic * bend);
}

namespace {

std::unique_ptr<Sampler> make(const SampleConfig& config, const diffusion::Schedule& schedule,
                              int64_t order, bool stochastic) {
  return std::make_unique<DpmSolver>(schedule, order, stochastic, chain_length(config, schedule),
                                     config.stepping == Stepping::kDiffusers && !stochastic
                                         ? QuadraticTerm::kHalved
                                         : QuadraticTerm::kExact);
}

}  // namespace

std::unique_ptr<Sampler> make_dpmpp_2m(const SampleConfig& config,
                                       const diffusion::Schedule& schedule) {
  return make(config, schedule, 2, false);
}

std::unique_ptr<Sampler> make_dpmpp_3m(const SampleConfig& config,
                                       const diffusion::Schedule& schedule) {
  return make(config, schedule, 3, false);
}

std::unique_ptr<Sampler> make_dpmpp_2m_sde(const SampleConfig& config,
                                           const diffusion::Schedule& schedule) {
  return make(config, schedule, 2, true);
}

std::unique_ptr<Sampler> make_dpmpp_3m_sde(const SampleConfig& config,
                                           const diffusion::Schedule& schedule) {
  return make(config, schedule, 3, true);
}

std::string describe_sde_noise(const SampleConfig&) { return "noise of the SDE"; }

}  // namespace ddpm::sample
