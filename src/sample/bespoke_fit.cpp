#include "ddpm/sample/bespoke_fit.h"

#include "bespoke.h"
#include "ddpm/base/error.h"
#include "ddpm/base/rng.h"
#include "ddpm/kernels/elementwise.h"
#include "fit_trials.h"
#include "jump.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numbers>
#include <set>
#include <utility>

#include <ATen/ops/linalg_solve.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

constexpr const char* kBespoke = "bespoke";

// So many that a weight is known to about a thousandth, whatever the size of an image.
int64_t images_to_fit(const GenerateOptions& o) {
  constexpr int64_t kPixels = 16 * 3 * 32 * 32, kFewest = 8, kMost = 64;
  return std::clamp(kPixels / (o.channels * o.height * o.width), kFewest, kMost);
}

SampleConfig fine_config(const SampleConfig& config, const std::vector<int64_t>& times) {
  SampleConfig fine = config;
  fine.method = "unipc";
  fine.steps_at = times;
  fine.steps = std::ssize(times);
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

void refuse_if_stopped(const GenerateResult& result) {
  if (result.stopped) throw Error("the fit of method bespoke was stopped");
}

// The fine solution wherever a step of a plan ends.
States fine_states(const diffusion::Denoiser& denoiser, const diffusion::Diffusion& diffusion,
                   const SampleConfig& config, GenerateOptions options, const FitTrials& trials) {
  std::set<int64_t> ends;
  for (const auto& plan : trials.plans)
    for (const PlanStep& step : plan) ends.insert(step.s);
  States states;
  options.observer = [&](int64_t, const TrajectoryPoint& point) {
    if (ends.count(point.step.t) > 0) states[point.step.t] = point.x_t;
  };
  const auto finished = [&](int64_t, const torch::Tensor& x) { states[0] = x; };
  refuse_if_stopped(
      generate(denoiser, diffusion, fine_config(config, trials.fine), options, finished));
  return states;
}

SampleConfig at(SampleConfig config, const std::vector<PlanStep>& plan) {
  config.steps_at.clear();
  for (const PlanStep& step : plan) config.steps_at.push_back(step.t);
  return config;
}

struct Fit {
  std::vector<BespokeStep> steps;
  double error = 0;  // of the images against the fine solution's, in what is compared
};

Fit fit_to(const diffusion::Denoiser& denoiser, const diffusion::Diffusion& diffusion,
           const SampleConfig& config, const GenerateOptions& options, const States& states) {
  Fit fit;
  const ReverseProcess process(diffusion, config, [&] {
    return std::make_unique<Fitting>(diffusion.schedule(), states, fit.steps);
  });
  const auto finished = [&](int64_t, const torch::Tensor& x) {
    fit.error = (compared(x) - compared(states.at(0))).norm().item<double>();
  };
  refuse_if_stopped(generate(denoiser, process, options, finished));
  return fit;
}

}  // namespace

bool needs_fit(const SampleConfig& config) {
  return config.method == kBespoke && config.bespoke.empty();
}

bool tries_exponents(const SampleConfig& config) {
  return config.spacing == Spacing::kPower && config.steps_at.empty();
}

FitCost cost_of_fit(const SampleConfig& config, const diffusion::Schedule& schedule,
                    const GenerateOptions& options) {
  const FitTrials trials = trials_of_fit(config, schedule);
  int64_t calls = std::ssize(trials.fine);
  for (const auto& plan : trials.plans) calls += std::ssize(plan);
  return {images_to_fit(options), calls};
}

std::vector<BespokeStep> fit_bespoke(const diffusion::Denoiser& denoiser,
                                     const diffusion::Diffusion& diffusion,
                                     const SampleConfig& config, const GenerateOptions& options) {
  const FitTrials trials = trials_of_fit(config, diffusion.schedule());
  const GenerateOptions own = of_fit(options);
  const States states = fine_states(denoiser, diffusion, config, own, trials);
  Fit best;
  for (const auto& plan : trials.plans) {
    Fit fit = fit_to(denoiser, diffusion, at(config, plan), own, states);
    if (best.steps.empty() || fit.error < best.error) best = std::move(fit);
  }
  return best.steps;
}

}  // namespace ddpm::sample
