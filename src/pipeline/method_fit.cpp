#include "ddpm/base/progress.h"
#include "ddpm/eval/posterior_variance.h"
#include "ddpm/exchange/model.h"
#include "ddpm/io/checksum.h"
#include "ddpm/io/file.h"
#include "ddpm/pipeline/fit_file.h"
#include "ddpm/pipeline/sample_images.h"
#include "ddpm/sample/bespoke_fit.h"

#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>
#include <torch/types.h>

namespace ddpm::pipeline {
namespace {

using Steps = std::vector<sample::BespokeStep>;

nlohmann::ordered_json key_of(const SamplePlan& plan) {
  nlohmann::ordered_json key = fit_key(plan.config, plan.weights_crc32c);
  if (plan.guide) key["guide_crc32c"] = exchange::weights_checksum(*plan.guide);
  if (!plan.script_guide.empty()) {
    key["script_guide_crc32c"] = io::file_sum(plan.script_guide).crc32c;
    key["guide_scale"] = plan.guide_scale;
    key["classes"] = plan.classes;
  }
  return key;
}

// With messages and a progress line.
Steps fitted_now(const SamplePlan& plan) {
  const diffusion::Schedule schedule(plan.network->description.diffusion.schedule);
  const sample::FitCost cost = sample::cost_of_fit(plan.config, schedule, plan.generate);
  spdlog::info(
      "method bespoke: fitting {} steps to this network, once: {} network calls for {} images",
      plan.config.steps, cost.calls, cost.images);
  Progress bar("fitting", cost.calls);
  int64_t done = 0;
  sample::GenerateOptions options = plan.generate;
  options.progress = [&](const sample::Progress&) {
    bar.update(++done);
    return true;
  };
  const Steps steps = fit_to(plan, load_unet(plan), options);
  if (sample::tries_exponents(plan.config)) {
    std::vector<int64_t> times;
    for (const sample::BespokeStep& step : steps) times.push_back(step.t);
    spdlog::info("method bespoke: spacing power takes t = {} for this network",
                 fmt::join(times, ", "));
  }
  return steps;
}

// The numbers of a fit in one tensor, and back: every rank knows how many there are.
torch::Tensor packed(const Steps& steps, int64_t width, int64_t rows) {
  torch::Tensor table = torch::zeros({rows, width}, torch::kDouble);
  for (int64_t i = 0; i < std::ssize(steps); ++i) {
    const sample::BespokeStep& step = steps[static_cast<size_t>(i)];
    table[i][0] = step.t;
    table[i][1] = step.s;
    table[i][2] = std::ssize(step.weights);
    for (int64_t k = 0; k < std::ssize(step.weights); ++k)
      table[i][3 + k] = step.weights[static_cast<size_t>(k)];
  }
  return table;
}

Steps unpacked(const torch::Tensor& table) {
  Steps steps;
  for (int64_t i = 0; i < table.size(0); ++i) {
    const double* row = table[i].data_ptr<double>();
    steps.push_back({static_cast<int64_t>(row[0]),
                     static_cast<int64_t>(row[1]),
                     {row + 3, row + 3 + static_cast<int64_t>(row[2])}});
  }
  return steps;
}

Steps shared(const Steps& of_main, const SamplePlan& plan, const dist::World& world) {
  if (world.size() == 1) return of_main;
  constexpr int64_t kWidth = 3 + 8;
  const diffusion::Schedule schedule(plan.network->description.diffusion.schedule);
  const int64_t rows = std::ssize(sample::timestep_plan(schedule, plan.config));
  const torch::Tensor table = packed(of_main, kWidth, rows).to(plan.generate.device);
  world.broadcast_({table});
  return unpacked(table.cpu());
}

}  // namespace

std::filesystem::path fit_file(const SamplePlan& plan) {
  return fit_file(*plan.network, key_of(plan));
}

Steps kept_fit(const SamplePlan& plan, const std::function<Steps(const SamplePlan&)>& fit) {
  const nlohmann::ordered_json key = key_of(plan);
  const auto file = fit_file(*plan.network, key);
  Steps steps = read_fit(file, key);
  if (!steps.empty()) return steps;
  SamplePlan of_all = plan;
  const nn::UNetConfig& unet = plan.network->description.unet;
  if (unet.class_conditional && plan.script_guide.empty())
    of_all.classes = sample::image_range(0, unet.image.classes);
  of_all.vectors = sample_vectors("", "", unet);
  steps = fit(of_all);
  keep_fit(file, key, steps);
  return steps;
}

bool settle_fit_(SamplePlan& plan, const dist::World& world) {
  if (!sample::needs_fit(plan.config)) return false;
  Steps steps;
  world.on_main("fit method bespoke", [&] { steps = kept_fit(plan, fitted_now); });
  plan.config.bespoke = shared(steps, plan, world);
  return true;
}

std::filesystem::path estimates_file(const SamplePlan& plan) {
  return exchange::run_of(*plan.network) / "estimates" /
         fmt::format("posterior-variance-{:08x}.json", plan.weights_crc32c);
}

bool read_variances_(SamplePlan& plan) {
  if (!sample::needs_posterior_variance(plan.config)) return false;
  const std::filesystem::path file = estimates_file(plan);
  if (!std::filesystem::exists(file)) return false;
  const diffusion::Schedule schedule(plan.network->description.diffusion.schedule);
  plan.config.posterior_variance =
      eval::parse_posterior_variance(io::read_text(file), plan.weights_crc32c, file.string())
          .at_every_t(schedule);
  return true;
}

}  // namespace ddpm::pipeline
