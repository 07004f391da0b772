#include "ddpm/sample/reverse_process.h"

#include "ddpm/base/error.h"

#include <fmt/format.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

std::string shown(const SampleConfig& config, const std::string& key) {
  return key == "eta"          ? fmt::format("{}", config.eta)
         : key == "steps"      ? fmt::format("{}", config.steps)
         : key == "last_alpha" ? to_string(config.last_alpha)
                               : to_string(config.sigma);
}

std::vector<PlanStep> checked_plan(const SampleConfig& config, int64_t timesteps) {
  if (const auto conflict = find_conflict(config, timesteps)) {
    throw UsageError(
        fmt::format("{} = {} {}", conflict->key, shown(config, conflict->key), conflict->message));
  }
  return timestep_plan(timesteps, config);
}

}  // namespace

ReverseProcess::ReverseProcess(const diffusion::Schedule& schedule,
                               diffusion::Prediction prediction, const SampleConfig& config)
    : schedule_(schedule),
      prediction_(prediction),
      clip_(config.clip),
      clip_range_(config.clip_range),
      plan_(checked_plan(config, schedule.timesteps())),
      sampler_(make_sampler(config, schedule)) {}

std::optional<torch::Tensor> ReverseProcess::run(const diffusion::Denoiser& denoiser,
                                                 const torch::Tensor& x_T, const NoiseSource& noise,
                                                 const StepHook& hook) const {
  const torch::NoGradGuard no_grad;
  torch::Tensor x = x_T;
  const torch::Tensor t = torch::empty({x.size(0)}, torch::dtype(torch::kInt64).device(x.device()));
  for (size_t k = 0; k < plan_.size(); ++k) {
    const PlanStep& step = plan_[k];
    const auto position = static_cast<int64_t>(k);

    // 1. What does the network make of x_t?
    t.fill_(step.t);
    torch::Tensor output = denoiser(x, t);
    torch::Tensor variance_weight;
    if (output.dim() == x.dim() && output.size(1) == 2 * x.size(1)) {
      variance_weight = (output.narrow(1, x.size(1), x.size(1)).to(x.scalar_type()) + 1) / 2;
      output = output.narrow(1, 0, x.size(1));
    }
    TORCH_CHECK(output.sizes() == x.sizes(), "the network made ", output.sizes(), " of ",
                x.sizes());

    // 2. As x0_hat and eps_hat, within the image range.
    const auto raw = diffusion::estimate(prediction_, schedule_, output, x, step.t);
    auto estimate = clipped(clip_, raw, schedule_, x, step.t, clip_range_);
    estimate.variance_weight = variance_weight;

    // 3. To x_s.
    const torch::Tensor z = sampler_->uses_noise(step) ? noise(position) : torch::Tensor();
    const torch::Tensor x_s = sampler_->step(step, x, estimate, z);
    if (hook && !hook({position, step, x, estimate.x0})) {
      return std::nullopt;
    }
    x = x_s;
  }
  return x;
}

}  // namespace ddpm::sample
