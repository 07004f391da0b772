#include "ddpm/base/signals.h"
#include "ddpm/cli/app.h"
#include "ddpm/eval/likelihood_report.h"
#include "ddpm/eval/posterior_variance.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_text.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/pipeline/fit_file.h"
#include "ddpm/pipeline/sample_images.h"
#include "ddpm/pipeline/sample_plan.h"
#include "estimates.h"
#include "flags.h"
#include "shared_flags.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kUsualImages = 512;

struct EstimateOptions : EvalOptions {
  int64_t times = 50;
};

eval::PosteriorVariance measure(const EstimateOptions& o, const pipeline::SamplePlan& plan,
                                const Processes& processes) {
  const eval::LikelihoodSubject subject = eval::likelihood_subject(
      plan.network->description, plan.network->path.string(), plan.weights_name(),
      open_reference(o, plan.network->path), o.sample.num.value_or(kUsualImages), {});
  const nn::UNet unet = pipeline::load_unet(plan);
  const diffusion::Diffusion diffusion(plan.network->description.diffusion);
  const auto denoiser_of = [&](const torch::Tensor& labels, const torch::Tensor& x0,
                               const torch::Tensor& vectors) {
    return nn::make_denoiser(unet, diffusion, plan.precision,
                             eval::given_of(plan.network->description.unet, labels, x0, vectors));
  };
  return eval::measure_posterior_variance(denoiser_of, diffusion, *subject.data.images,
                                          subject.images,
                                          {.times = o.times,
                                           .seed = static_cast<uint64_t>(o.sample.seed),
                                           .batch = o.sample.batch.value_or(64),
                                           .device = processes.device,
                                           .precision = plan.precision,
                                           .deterministic = plan.deterministic},
                                          processes.world);
}

void write(const eval::PosteriorVariance& found, const pipeline::SamplePlan& plan,
           const dist::World& world) {
  const fs::path file = pipeline::estimates_file(plan);
  world.on_main("write the estimate", [&] {
    io::make_folder(file.parent_path(), "make it writable");
    io::write_file_atomic(file, eval::to_json_text(found, plan.weights_crc32c));
  });
}

int run_estimate(const EstimateOptions& o) {
  const EndOnSignal ending("the measurements are lost");
  const Processes processes = join_to_sample(detected_launch(), o.sample.device);
  pipeline::SampleOptions sampling = o.sample;
  sampling.num.reset();  // --num is the number of images to measure
  take_own_conditions_(sampling);
  pipeline::SamplePlan plan = pipeline::plan_sampling(sampling);
  plan.generate.device = processes.device;
  const eval::PosteriorVariance found = measure(o, plan, processes);
  write(found, plan, processes.world);
  if (!processes.world.is_main()) return kOk;
  const std::string file = pipeline::estimates_file(plan).string();
  if (o.json) {
    fmt::print("{}\n", io::json_text({{"file", file},
                                      {"images", found.images},
                                      {"t", found.t},
                                      {"variance", found.variance}}));
    return kOk;
  }
  fmt::print("     t   Var(x0 | x_t)   deviation in levels of 0..255\n");
  for (size_t i = 0; i < found.t.size(); i += std::max<size_t>(1, found.t.size() / 10))
    fmt::print("{:>6}   {:>13.4g}   {:>9.1f}\n", found.t[i], found.variance[i],
               127.5 * std::sqrt(found.variance[i]));
  fmt::print("{}\n", file);
  return kOk;
}

// Returns whether the plan changed.
bool settle_variances_(pipeline::SamplePlan& plan, const pipeline::SampleOptions& options,
                       const Processes& processes) {
  if (!sample::needs_posterior_variance(plan.config)) return false;
  if (pipeline::read_variances_(plan)) return true;
  spdlog::info(
      "{}: measuring the optimal variance, once for these weights",
      plan.config.sigma == sample::Sigma::kAnalytic ? "sigma analytic" : "spacing optimal");
  EstimateOptions o;
  o.sample = options;
  o.sample.num = kUsualImages;
  o.sample.seed = 0;
  const eval::PosteriorVariance found = measure(o, plan, processes);
  write(found, plan, processes.world);
  plan.config.posterior_variance =
      found.at_every_t(diffusion::Schedule(plan.network->description.diffusion.schedule));
  return true;
}

}  // namespace

void settle_(pipeline::SamplePlan& plan, const pipeline::SampleOptions& options,
             const Processes& processes) {
  plan.generate.device = processes.device;
  const bool measured = settle_variances_(plan, options, processes);
  if (pipeline::settle_fit_(plan, processes.world) || measured)
    pipeline::describe_settings(options, plan);
}

void add_estimate(CLI::App& app, Command& chosen) {
  auto o = std::make_shared<EstimateOptions>();
  CLI::App* command = app.add_subcommand(
      "estimate", "Measure a network's optimal variances, for sample --sigma analytic (Bao 2022)");
  add_network_flags(*command, o->sample);
  add_reference_flags(*command, *o);
  command->add_option("--num", o->sample.num, "images to measure on (default: 512)")
      ->check(whole(1, int64_t{1} << 40));
  command
      ->add_option("--times", o->times,
                   "timesteps to measure, even in log-SNR; others are interpolated")
      ->check(whole(2, 100000))
      ->capture_default_str();
  add_json_flag(*command, o->json);
  command->footer(
      "Example:\n  ddpm estimate --ckpt runs/mine\n"
      "  ddpm sample --ckpt runs/mine --steps 10 --sigma analytic");
  command->callback([o, &chosen] { chosen = [o] { return run_estimate(*o); }; });
}

}  // namespace ddpm::cli
