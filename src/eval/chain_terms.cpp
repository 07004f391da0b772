#include "chain_terms.h"

#include "ddpm/diffusion/image_range.h"
#include "ddpm/diffusion/posterior.h"
#include "ddpm/diffusion/variational.h"

#include <algorithm>
#include <cmath>

#include <torch/utils.h>

namespace ddpm::eval {
namespace {

using sample::PlanStep;

std::vector<PlanStep> ascending_jumps(const LikelihoodOptions& options, int64_t timesteps) {
  std::vector<PlanStep> jumps(options.plan.rbegin(), options.plan.rend());
  if (jumps.empty())
    for (int64_t t = 1; t <= timesteps; ++t) jumps.push_back({t, t - 1});
  int64_t s = 0;
  for (const PlanStep& jump : jumps) {
    TORCH_CHECK(jump.s == s && jump.t > s && jump.t <= timesteps, "jump ", jump.t, " to ", jump.s,
                " is no part of a chain down to 0");
    s = jump.t;
  }
  return jumps;
}

// beta_tilde; of the last jump that of the one before it, or its beta if there is none.
double small_variance(const diffusion::Schedule& schedule, const std::vector<PlanStep>& jumps,
                      size_t i) {
  const auto posterior = [&](const PlanStep& jump) {
    return diffusion::jump_posterior(schedule, jump.t, jump.s);
  };
  if (i > 0) return posterior(jumps[i]).small;
  return jumps.size() > 1 ? posterior(jumps[1]).small : posterior(jumps[0]).large;
}

// beta_tilde + w^2 Var(x_0 | x_t), at s = 0 at least the variance within a level.
double analytic_variance(const diffusion::JumpPosterior& q, const PlanStep& jump,
                         const std::vector<double>& posterior_variance) {
  TORCH_CHECK(jump.t < std::ssize(posterior_variance), "no posterior variance at t = ", jump.t);
  const double spread = q.x0 * q.x0 * posterior_variance[static_cast<size_t>(jump.t)];
  return jump.s == 0 ? std::max(spread, diffusion::kLevelVariance) : q.small + spread;
}

diffusion::ModelVariance of_one_step(ModelVariance variance) {
  switch (variance) {
    case ModelVariance::kSmall:
      return diffusion::ModelVariance::kSmall;
    case ModelVariance::kLarge:
      return diffusion::ModelVariance::kLarge;
    case ModelVariance::kLearned:
      return diffusion::ModelVariance::kLearned;
    case ModelVariance::kAnalytic:
      break;
  }
  TORCH_CHECK(false, "the analytic variance needs a plan");
}

torch::Tensor at_jump(const torch::Tensor& table, const torch::Tensor& jump) {
  return table.index_select(0, jump - 1).view({-1, 1, 1, 1});
}

}  // namespace

torch::Tensor per_image(const torch::Tensor& x) { return x.flatten(1).sum(1); }

ChainTerms::ChainTerms(const diffusion::Diffusion& diffusion, const LikelihoodOptions& options)
    : diffusion_(diffusion),
      variance_(options.variance),
      clip_(options.clip),
      all_steps_(options.plan.empty()),
      ascending_(ascending_jumps(options, diffusion.schedule().timesteps())) {
  const diffusion::Schedule& schedule = diffusion.schedule();
  std::vector<int64_t> times;
  std::vector<double> weight, small, low, high;
  for (size_t i = 0; i < ascending_.size() && !all_steps_; ++i) {
    const PlanStep& jump = ascending_[i];
    const diffusion::JumpPosterior q = diffusion::jump_posterior(schedule, jump.t, jump.s);
    const bool fixed_end = i == 0 && variance_ != ModelVariance::kLearned;
    times.push_back(jump.t);
    weight.push_back(q.x0);
    small.push_back(std::log(small_variance(schedule, ascending_, i)));
    low.push_back(variance_ == ModelVariance::kAnalytic
                      ? std::log(analytic_variance(q, jump, options.posterior_variance))
                      : small.back());
    high.push_back(fixed_end ? small.back() : std::log(q.large));
  }
  const auto table = [&](const std::vector<double>& numbers) {
    return torch::tensor(numbers, torch::kDouble).to(options.device);
  };
  times_ = torch::tensor(times, torch::kLong).to(options.device);
  weight_ = table(weight);
  log_true_ = table(small);
  log_low_ = table(low);
  log_high_ = table(high);
}

torch::Tensor ChainTerms::times(const torch::Tensor& jump) const {
  return all_steps_ ? jump : times_.index_select(0, jump - 1);
}

torch::Tensor ChainTerms::prior(const torch::Tensor& x0) const {
  return prior_divergence(diffusion_.schedule(), x0, ascending_.back().t);
}

torch::Tensor ChainTerms::log_variance(const torch::Tensor& weight,
                                       const torch::Tensor& jump) const {
  if (variance_ == ModelVariance::kLarge) return at_jump(log_high_, jump);
  if (variance_ != ModelVariance::kLearned) return at_jump(log_low_, jump);
  TORCH_CHECK(weight.defined(), "the network has no learned variance");
  return diffusion::learned_log_variance(at_jump(log_low_, jump), at_jump(log_high_, jump), weight);
}

torch::Tensor ChainTerms::term(const torch::Tensor& output, const torch::Tensor& x0,
                               const torch::Tensor& x_t, const torch::Tensor& jump) const {
  if (all_steps_)
    return diffusion::variational_term(diffusion_, of_one_step(variance_), clip_, output, x0, x_t,
                                       jump);
  const torch::Tensor x = x0.to(torch::kDouble), noisy = x_t.to(torch::kDouble);
  const diffusion::Estimate found = diffusion_.estimate(output, noisy, times(jump));
  const torch::Tensor x0_hat = clip_ ? found.x0.clamp(-1.0, 1.0) : found.x0;
  const torch::Tensor log_var = log_variance(found.variance_weight, jump).expand_as(noisy);
  // The mean of the last jump is x0_hat. The means of the others differ by their weight of x_0.
  const torch::Tensor decoder = -diffusion::decoder_log_likelihood(x, x0_hat, log_var);
  const torch::Tensor shift = at_jump(weight_, jump) * (x - x0_hat);
  const torch::Tensor divergence =
      diffusion::normal_divergence(at_jump(log_true_, jump), log_var, shift);
  return torch::where(jump == 1, per_image(decoder), per_image(divergence));
}

}  // namespace ddpm::eval
