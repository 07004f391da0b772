#include "noise_multistep.h"

#include "ddpm/sample/methods.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <torch/types.h>

namespace ddpm::sample {
namespace {

// Integrals over sigma = e^l from l = from to l = to of the Lagrange polynomials in l through
// `nodes`. With E_k = integral of l^k e^l: E_0 = e^l, E_1 = (l - 1) e^l, E_2 = (l^2 - 2 l + 2) e^l.
// l is counted from `to`, which keeps the numbers small.
std::vector<double> lagrange_integrals(std::vector<double> nodes, double from, double to) {
  for (double& node : nodes) node -= to;
  const double start = from - to;
  const auto moment = [&](int k) {
    const auto at = [k](double l) {
      return (k == 0 ? 1.0 : k == 1 ? l - 1 : l * l - 2 * l + 2) * std::exp(l);
    };
    return std::exp(to) * (at(0.0) - at(start));
  };
  std::vector<double> weights;
  for (size_t i = 0; i < nodes.size(); ++i) {
    std::array<double, 3> c{1, 0, 0};  // of 1, l, l^2
    double scale = 1;
    for (size_t j = 0; j < nodes.size(); ++j) {
      if (j == i) continue;
      c = {-nodes[j] * c[0], c[0] - nodes[j] * c[1], c[1] - nodes[j] * c[2]};
      scale *= nodes[i] - nodes[j];
    }
    weights.push_back((c[0] * moment(0) + c[1] * moment(1) + c[2] * moment(2)) / scale);
  }
  return weights;
}

// first-order step + a_s sum_i w_i (eps_i - eps_0), the w_i adding up to sigma_s - sigma_t.
torch::Tensor with_differences(const torch::Tensor& first_order, const Jump& jump,
                               const History& history, const std::vector<double>& weights) {
  torch::Tensor x_s = first_order;
  for (size_t i = 1; i < weights.size(); ++i)
    x_s = x_s + jump.a_s * weights[i] * (history[static_cast<int64_t>(i)].value - history[0].value);
  return x_s;
}

// Adams and Bashforth's weights of the newest value first.
std::vector<double> adams_bashforth(int64_t order) {
  switch (order) {
    case 2:
      return {3 / 2.0, -1 / 2.0};
    case 3:
      return {23 / 12.0, -16 / 12.0, 5 / 12.0};
    default:
      return {55 / 24.0, -59 / 24.0, 37 / 24.0, -9 / 24.0};
  }
}

}  // namespace

torch::Tensor Deis::step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                         const StepNoise&) {
  const diffusion::Estimate at_t = estimate(x_t, step.t);
  const Jump jump(schedule_, step);
  history_.push({-jump.lambda_t, at_t.eps});
  const torch::Tensor first_order = first_order_step(jump, at_t);
  const int64_t order = history_.order(step);
  if (order == 1) return first_order;
  std::vector<double> nodes;
  for (int64_t i = 0; i < order; ++i) nodes.push_back(history_[i].at);
  return with_differences(
      first_order, jump, history_,
      lagrange_integrals(nodes, std::log(jump.sigma_t), std::log(jump.sigma_s)));
}

torch::Tensor Ipndm::step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                          const StepNoise&) {
  const diffusion::Estimate at_t = estimate(x_t, step.t);
  const Jump jump(schedule_, step);
  history_.push({-jump.lambda_t, at_t.eps});
  const torch::Tensor first_order = first_order_step(jump, at_t);
  const int64_t order = history_.known();
  if (order == 1) {
    if (!heun_start_ || step.s == 0 || !std::isfinite(jump.sigma_t)) return first_order;
    heun_start_ = false;
    return heun_correction(jump, first_order, at_t, estimate(first_order, step.s));
  }
  std::vector<double> weights = adams_bashforth(order);
  for (double& w : weights) w *= jump.sigma_s - jump.sigma_t;
  return with_differences(first_order, jump, history_, weights);
}

std::unique_ptr<Sampler> make_deis(const SampleConfig& config,
                                   const diffusion::Schedule& schedule) {
  return std::make_unique<Deis>(schedule, order_of(config), chain_length(config, schedule));
}

std::unique_ptr<Sampler> make_ipndm(const SampleConfig& config,
                                    const diffusion::Schedule& schedule) {
  return std::make_unique<Ipndm>(schedule, order_of(config), chain_length(config, schedule));
}

int64_t pndm_steps(int64_t calls, const diffusion::Schedule& schedule) {
  // Heun's step is the first from alpha_bar > 0, and not the last.
  const int64_t fewest = diffusion::has_signal_at_last(schedule) ? 3 : 4;
  return calls < fewest ? calls : calls - 1;
}

std::unique_ptr<Sampler> make_pndm(const SampleConfig& config,
                                   const diffusion::Schedule& schedule) {
  constexpr int64_t kOrder = 4;
  const int64_t calls = calls_of(config, schedule);
  const bool heun_start = !config.steps_at.empty() || pndm_steps(calls, schedule) < calls;
  return std::make_unique<Ipndm>(schedule, kOrder, chain_length(config, schedule), heun_start);
}

}  // namespace ddpm::sample
