#include "ddpm/sample/reverse_process.h"

#include "ddpm/base/error.h"

#include <limits>

#include <fmt/format.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

std::string shown(const SampleConfig& config, const std::string& key) {
  return key == "eta"          ? fmt::format("{}", config.eta)
         : key == "steps"      ? fmt::format("{}", config.steps)
         : key == "last_alpha" ? config::to_string(config.last_alpha)
                               : config::to_string(config.sigma);
}

std::vector<PlanStep> checked_plan(const SampleConfig& config, int64_t timesteps) {
  if (const auto conflict = find_conflict(config, timesteps)) {
    throw UsageError(
        fmt::format("{} = {} {}", conflict->key, shown(config, conflict->key), conflict->message));
  }
  return timestep_plan(timesteps, config);
}

/// Remembers on the device where each image was first not finite.
class FiniteWatch {
 public:
  explicit FiniteWatch(const torch::Tensor& x)
      : first_(torch::full({x.size(0)}, kNever, torch::dtype(torch::kInt64).device(x.device()))) {}

  void see(int64_t position, const torch::Tensor& output, const torch::Tensor& x) {
    // A sum is NaN or infinite if a term is: one pass over each tensor.
    const torch::Tensor sums =
        output.flatten(1).sum(1, false, torch::kFloat) + x.flatten(1).sum(1, false, torch::kFloat);
    const torch::Tensor now = torch::where(sums.isfinite(), kNever, position);
    first_ = torch::minimum(first_, now.to(torch::kInt64));
  }
  /// Waits for the device. Throws NotFinite.
  void check(const std::vector<PlanStep>& plan) const {
    const auto [position, row] = first_.min(0);
    const int64_t k = position.item<int64_t>();
    if (k == kNever) return;
    throw NotFinite({row.item<int64_t>(), k, std::ssize(plan), plan[static_cast<size_t>(k)].t});
  }

 private:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  torch::Tensor first_;  // int64 [B]: plan position
};

}  // namespace

NotFinite::NotFinite(const Place& place)
    : Error(fmt::format("image {} is not finite after step {} of {} (t = {})", place.image,
                        place.position + 1, place.steps, place.t)),
      place_(place) {}

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
  FiniteWatch watch(x);
  for (size_t k = 0; k < plan_.size(); ++k) {
    const PlanStep& step = plan_[k];
    const auto position = static_cast<int64_t>(k);

    // 1. What does the network make of x_t?
    t.fill_(step.t);
    const torch::Tensor made = denoiser(x, t);
    torch::Tensor output = made, variance_weight;
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
    watch.see(position, made, x_s);
    if (x.is_cpu() || k % 16 == 15 || k + 1 == plan_.size()) watch.check(plan_);
    if (hook && !hook({position, step, x, estimate.x0})) {
      return std::nullopt;
    }
    x = x_s;
  }
  return x;
}

}  // namespace ddpm::sample
