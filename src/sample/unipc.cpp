#include "unipc.h"

#include "ddpm/sample/methods.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <ATen/ops/linalg_solve.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

// The weights of the differences at the relative places r_i (Zhao 2023, Eq. 9): the solution of
// sum_i r_i^(k-1) rho_i = k! phi_(k+1)(-h) / B(h), k = 1.. count, B(h) = e^-h - 1.
std::vector<double> unipc_weights(const std::vector<double>& r, double h) {
  if (r.size() == 1) return {0.5};  // the paper's choice
  const auto count = static_cast<int64_t>(r.size());
  const torch::Tensor left = torch::empty({count, count}, torch::kDouble);
  const torch::Tensor right = torch::empty({count}, torch::kDouble);
  const double b = std::expm1(-h);
  double phi = b / -h - 1, factorial = 1;
  for (int64_t k = 0; k < count; ++k) {
    for (int64_t i = 0; i < count; ++i)
      left[k][i] = std::pow(r[static_cast<size_t>(i)], static_cast<double>(k));
    right[k] = phi * factorial / b;
    factorial *= static_cast<double>(k + 2);
    phi = phi / -h - 1 / factorial;
  }
  const torch::Tensor rho = at::linalg_solve(left, right);
  return {rho.data_ptr<double>(), rho.data_ptr<double>() + count};
}

// The places and scaled differences of the values before history[newest], which the jump began at.
struct Differences {
  std::vector<double> places;
  std::vector<torch::Tensor> values;
};

Differences differences_of(const History& history, const Jump& jump, int64_t order,
                           int64_t newest) {
  Differences d;
  for (int64_t i = 1; i < order; ++i) {
    const double place = (history[newest + i].at - history[newest].at) / jump.h;
    d.places.push_back(place);
    d.values.push_back((history[newest + i].value - history[newest].value) / place);
  }
  return d;
}

torch::Tensor weighted_sum(const Differences& d, double h) {
  const std::vector<double> weights = unipc_weights(d.places, h);
  torch::Tensor sum = weights[0] * d.values[0];
  for (size_t i = 1; i < weights.size(); ++i) sum = sum + weights[i] * d.values[i];
  return sum;
}

}  // namespace

torch::Tensor UniPc::step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                          const StepNoise&) {
  const diffusion::Estimate at_t = estimate(x_t, step.t);
  const Jump jump(schedule_, step);
  history_.push({jump.lambda_t, at_t.x0});
  const torch::Tensor x = former_ ? corrected() : x_t;
  const int64_t order = std::min({order_, history_.known(), left_});
  torch::Tensor x_s = first_order_step(jump, at_t);
  if (former_) x_s = x_s + jump.n_s / jump.n_t * (x - x_t);
  if (order > 1)
    x_s = x_s + jump.a_s * jump.one_minus_e *
                    weighted_sum(differences_of(history_, jump, order, 0), jump.h);
  --left_;
  former_.reset();
  if (std::isfinite(jump.h)) former_.emplace(Former{jump, x, order});
  return x_s;
}

// The end of the former step, with x0_hat there: history_[0], while the step began at history_[1].
torch::Tensor UniPc::corrected() const {
  const Jump& jump = former_->jump;
  Differences d = differences_of(history_, jump, former_->order, 1);
  d.places.push_back(1.0);
  d.values.push_back(history_[0].value - history_[1].value);
  return jump.n_s / jump.n_t * former_->x +
         jump.a_s * jump.one_minus_e * (history_[1].value + weighted_sum(d, jump.h));
}

std::unique_ptr<Sampler> make_unipc(const SampleConfig& config,
                                    const diffusion::Schedule& schedule) {
  return std::make_unique<UniPc>(schedule, order_of(config), chain_length(config, schedule));
}

}  // namespace ddpm::sample
