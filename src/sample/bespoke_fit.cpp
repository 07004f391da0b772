#include "ddpm/sample/bespoke_fit.h"

#include "bespoke.h"
#include "ddpm/base/error.h"
#include "ddpm/base/rng.h"
#include "ddpm/kernels/random.h"
#include "jump.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numbers>
#include <utility>

#include <ATen/ops/linalg_solve.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

constexpr const char* kBespoke = "bespoke";
constexpr int64_t kFineCalls = 60;

// So many that a weight is known to about a thousandth, whatever the size of an image.
int64_t images_to_fit(const GenerateOptions& o) {
  constexpr int64_t kPixels = 16 * 3 * 32 * 32, kFewest = 8, kMost = 64;
  return std::clamp(kPixels / (o.channels * o.height * o.width), kFewest, kMost);
}

// The plan's timesteps, and others evenly between them; after the last one they gather at 0, where
// the finest details appear.
std::vector<int64_t> fine_times(const std::vector<PlanStep>& plan) {
  const int64_t even = std::max<int64_t>(2, kFineCalls / std::ssize(plan));
  std::vector<int64_t> times;
  for (const PlanStep& step : plan) {
    const int64_t parts = step.s == 0 ? 2 * even : even;
    for (int64_t k = 0; k < parts; ++k) {
      const double left = 1 - static_cast<double>(k) / static_cast<double>(parts);
      const double share = step.s == 0 ? left * left : left;
      const int64_t t = step.s + std::lround(share * static_cast<double>(step.t - step.s));
      if (t >= 1 && (times.empty() || t < times.back())) times.push_back(t);
    }
  }
  return times;
}

SampleConfig fine_config(const SampleConfig& config, const std::vector<PlanStep>& plan) {
  SampleConfig fine = config;
  fine.method = "unipc";
  fine.steps_at = fine_times(plan);
  fine.steps = std::ssize(fine.steps_at);
  return fine;
}

// x of the fine solution by t; at 0, the images.
using States = std::map<int64_t, torch::Tensor>;

// What a fit compares of images x [B,C,H,W]: the differences of neighbouring pixels, and the pixels
// themselves as much as the lowest frequency counts in them. The amplitude of images falls with
// frequency (Field 1987), so every octave has its say; pixels alone would let details blur.
torch::Tensor compared(const torch::Tensor& image) {
  const torch::Tensor x = image.to(torch::kDouble);
  const double lowest = 2 * std::numbers::pi / static_cast<double>(std::max(x.size(2), x.size(3)));
  return torch::cat({(lowest * x).flatten(), x.diff(1, 2).flatten(), x.diff(1, 3).flatten()});
}

// The weights w that minimise |target - sum_i w_i terms_i|^2 of what is compared, drawn to 0 by a
// ten-thousandth of each term's square: former estimates are nearly the same.
std::vector<double> least_squares(const std::vector<torch::Tensor>& terms,
                                  const torch::Tensor& target) {
  constexpr double kRidge = 1e-4;
  std::vector<torch::Tensor> columns;
  for (const torch::Tensor& term : terms) columns.push_back(compared(term));
  const torch::Tensor all = torch::stack(columns);
  torch::Tensor square = all.matmul(all.t()).cpu();
  const torch::Tensor right = all.mv(compared(target)).cpu();
  const torch::Tensor diagonal = square.diag();  // 0 of a term that is 0: its weight is 0
  square = square + torch::diag(kRidge * diagonal + 1e-12 * diagonal.max());
  const torch::Tensor weights = at::linalg_solve(square, right).contiguous();
  return {weights.data_ptr<double>(), weights.data_ptr<double>() + weights.numel()};
}

// Method "bespoke" while its weights are found, step by step: each sees the states that the ones
// before it made.
class Fitting : public Sampler {
 public:
  Fitting(const diffusion::Schedule& schedule, const States& states,
          std::vector<BespokeStep>& fitted)
      : schedule_(schedule), states_(states), fitted_(fitted) {}

  torch::Tensor step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                     const StepNoise&) override {
    const diffusion::Estimate at_t = estimate(x_t, step.t);
    recent_.push(at_t.x0);
    const torch::Tensor plain = first_order_step(Jump(schedule_, step), at_t);
    std::vector<torch::Tensor> terms{x_t};
    for (const torch::Tensor& x0 : recent_.all()) terms.push_back(x0);
    fitted_.push_back({step.t, step.s, least_squares(terms, states_.at(step.s) - plain)});
    return with_weights(plain, fitted_.back().weights, x_t, recent_.all());
  }

 private:
  diffusion::Schedule schedule_;
  const States& states_;
  std::vector<BespokeStep>& fitted_;
  RecentEstimates recent_;
};

// The options of one batch of images with noise of their own.
GenerateOptions of_fit(const GenerateOptions& options) {
  GenerateOptions own = options;
  own.images = image_range(0, images_to_fit(options));
  own.batch = std::ssize(own.images);
  own.initial_noise = torch::empty({own.batch, own.channels, own.height, own.width},
                                   torch::dtype(own.dtype).device(own.device));
  kernels::fill_normal_(own.initial_noise, rng_key(0, Purpose::kFitNoise),
                        torch::arange(own.batch).to(own.device));
  own.step_noise.reset();
  own.observer = nullptr;
  return own;
}

}  // namespace

bool needs_fit(const SampleConfig& config) {
  return config.method == kBespoke && config.bespoke.empty();
}

FitCost cost_of_fit(const SampleConfig& config, const diffusion::Schedule& schedule,
                    const GenerateOptions& options) {
  const std::vector<PlanStep> plan = timestep_plan(schedule, config);
  return {images_to_fit(options), std::ssize(plan) + std::ssize(fine_times(plan))};
}

std::vector<BespokeStep> fit_bespoke(const diffusion::Denoiser& denoiser,
                                     const diffusion::Diffusion& diffusion,
                                     const SampleConfig& config, const GenerateOptions& options) {
  const std::vector<PlanStep> plan = timestep_plan(diffusion.schedule(), config);
  GenerateOptions own = of_fit(options);
  // 1. The fine solution at the plan's timesteps.
  States states;
  own.observer = [&](int64_t, const TrajectoryPoint& point) {
    const int64_t t = point.step.t;
    const auto ends_at_t = [t](const PlanStep& step) { return step.s == t; };
    if (std::any_of(plan.begin(), plan.end(), ends_at_t)) states[t] = point.x_t;
  };
  const auto finished = [&](int64_t, const torch::Tensor& x) { states[plan.back().s] = x; };
  const GenerateResult fine =
      generate(denoiser, diffusion, fine_config(config, plan), own, finished);
  if (fine.stopped) throw Error("the fit of method bespoke was stopped");
  // 2. The weights, step by step.
  std::vector<BespokeStep> fitted;
  own.observer = nullptr;
  const ReverseProcess process(diffusion, config, [&] {
    return std::make_unique<Fitting>(diffusion.schedule(), states, fitted);
  });
  if (generate(denoiser, process, own, [](int64_t, const torch::Tensor&) {}).stopped)
    throw Error("the fit of method bespoke was stopped");
  return fitted;
}

}  // namespace ddpm::sample
