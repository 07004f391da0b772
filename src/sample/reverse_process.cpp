#include "ddpm/sample/reverse_process.h"

#include "ddpm/base/error.h"
#include "ddpm/io/json_text.h"
#include "ddpm/sample/methods.h"

#include <limits>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

std::string shown(const SampleConfig& config, const std::string& key) {
  const nlohmann::ordered_json value = config::to_json(config).at(key);
  return value.is_string() ? value.get<std::string>() : io::json_text(value);
}

std::vector<PlanStep> checked_plan(const SampleConfig& config,
                                   const diffusion::Schedule& schedule) {
  if (const auto conflict = find_conflict(config, schedule.timesteps())) {
    throw UsageError(
        fmt::format("{} = {} {}", conflict->key, shown(config, conflict->key), conflict->message));
  }
  return timestep_plan(schedule, config);
}

/// Remembers on the device where each image was first not finite.
class FiniteWatch {
 public:
  explicit FiniteWatch(const torch::Tensor& x)
      : first_(torch::full({x.size(0)}, kNever, torch::dtype(torch::kInt64).device(x.device()))) {}

  void see(int64_t position, const torch::Tensor& x) {
    // A sum is NaN or infinite if a term is: one pass over the tensor.
    const torch::Tensor sums = x.flatten(1).sum(1, false, torch::kFloat);
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

ReverseProcess::ReverseProcess(const diffusion::Diffusion& diffusion, const SampleConfig& config)
    : ReverseProcess(diffusion, config, [config, schedule = diffusion.schedule()] {
        return make_sampler(config, schedule);
      }) {}

ReverseProcess::ReverseProcess(const diffusion::Diffusion& diffusion, const SampleConfig& config,
                               MakeSampler make)
    : diffusion_(diffusion),
      config_(config),
      plan_(checked_plan(config, diffusion.schedule())),
      make_(std::move(make)) {}

std::optional<torch::Tensor> ReverseProcess::run(const diffusion::Denoiser& denoiser,
                                                 const torch::Tensor& x_T, const NoiseSource& noise,
                                                 const StepHook& hook) const {
  const torch::NoGradGuard no_grad;
  const std::unique_ptr<Sampler> sampler = make_();
  torch::Tensor x = x_T, x0_hat;
  const torch::Tensor t = torch::empty({x.size(0)}, torch::dtype(torch::kInt64).device(x.device()));
  FiniteWatch watch(x);
  int64_t position = 0;
  bool first_call = true;

  const Estimator estimate = [&](const torch::Tensor& at, int64_t time) {
    // 1. The network's output at (x, t).
    t.fill_(time);
    const torch::Tensor made = denoiser(at, t);
    watch.see(position, made);
    // 2. As x0_hat and eps_hat, within the image range.
    const diffusion::Estimate clean = clipped(config_.clip, diffusion_.estimate(made, at, time),
                                              diffusion_.schedule(), at, time, clip_bound(config_));
    if (std::exchange(first_call, false)) x0_hat = clean.x0.detach();
    return clean;
  };
  for (const PlanStep& step : plan_) {
    // 3. To x_s.
    first_call = true;
    const torch::Tensor x_s =
        sampler->step(step, x, estimate, [&](int64_t draw) { return noise(position, draw); });
    watch.see(position, x_s);
    const bool last = position + 1 == std::ssize(plan_);
    if (x.is_cpu() || position % 16 == 15 || last) watch.check(plan_);
    if (hook && !hook({position, step, x, x0_hat})) return std::nullopt;
    x = x_s;
    ++position;
  }
  return x;
}

}  // namespace ddpm::sample
