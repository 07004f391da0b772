#include "bespoke.h"

#include "jump.h"
#include "multistep.h"

#include <algorithm>
#include <utility>

namespace ddpm::sample {

void RecentEstimates::push(const torch::Tensor& x0) {
  x0_.push_front(x0);
  if (std::ssize(x0_) > kBespokeEstimates) x0_.pop_back();
}

torch::Tensor with_weights(const torch::Tensor& plain, const std::vector<double>& weights,
                           const torch::Tensor& x_t, const std::deque<torch::Tensor>& x0) {
  torch::Tensor x_s = plain + weights[0] * x_t;
  for (size_t i = 0; i < x0.size(); ++i) x_s.add_(x0[i], weights[i + 1]);
  return x_s;
}

Bespoke::Bespoke(const diffusion::Schedule& schedule, std::vector<BespokeStep> fitted)
    : schedule_(schedule), fitted_(std::move(fitted)) {}

torch::Tensor Bespoke::step(const PlanStep& step, const torch::Tensor& x_t,
                            const Estimator& estimate, const StepNoise&) {
  const diffusion::Estimate at_t = estimate(x_t, step.t);
  recent_.push(at_t.x0);
  const torch::Tensor plain = first_order_step(Jump(schedule_, step), at_t);
  // A chain that begins in the middle (edit) has no former estimates yet: it begins with DDIM.
  const auto found = std::find_if(fitted_.begin(), fitted_.end(), [&](const BespokeStep& fitted) {
    return fitted.t == step.t && fitted.s == step.s &&
           fitted.weights.size() == recent_.all().size() + 1;
  });
  return found == fitted_.end() ? plain : with_weights(plain, found->weights, x_t, recent_.all());
}

// Each step has to end where the next one begins, and the last one at the image.
std::optional<Conflict> check_bespoke(const SampleConfig& config) {
  if (config.stepping != Stepping::kOwn)
    return Conflict{"stepping", "= diffusers does not go with method bespoke; use own"};
  if (config.last_alpha != LastAlpha::kOne)
    return Conflict{"last_alpha", "= first does not go with method bespoke; use one"};
  return check_solver(config);
}

std::unique_ptr<Sampler> make_bespoke(const SampleConfig& config,
                                      const diffusion::Schedule& schedule) {
  return std::make_unique<Bespoke>(schedule, config.bespoke);
}

}  // namespace ddpm::sample
