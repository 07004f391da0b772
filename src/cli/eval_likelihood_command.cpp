#include "ddpm/base/signals.h"
#include "ddpm/eval/likelihood_report.h"
#include "ddpm/eval/result_folder.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/checksum.h"
#include "ddpm/io/json_text.h"
#include "ddpm/pipeline/sample_images.h"
#include "estimates.h"
#include "eval_setup.h"
#include "eval_subcommands.h"
#include "flags.h"
#include "shared_flags.h"

#include <algorithm>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

struct VlbOptions : EvalOptions {
  int64_t calls = 100;
  std::string variance;  // "": the checkpoint's own
  bool ode = false;
  int64_t probes = 1;
  std::string out;
};

constexpr int64_t kFlowSteps = 50;  // of --ode without --steps

// Whether the timesteps are those of the flags, not all of them with a fixed or learned variance.
bool has_own_chain(const VlbOptions& o) {
  return o.sample.steps || o.variance == "analytic" || o.ode;
}

void refuse_unused_flags(const VlbOptions& o) {
  if (!o.sample.classes.empty())
    throw UsageError(
        "--class: a likelihood takes each image's own class; choose images with --reference");
  if (o.sample.spacing && !o.sample.steps && !o.ode)
    throw UsageError("--spacing chooses the timesteps of --steps; add --steps, or leave it out");
}

// --variance, else the checkpoint's sigma; small for those that a bound does not have, or not without
// a measurement.
eval::ModelVariance chosen_variance(const VlbOptions& o, const pipeline::SamplePlan& plan) {
  const std::string name =
      o.variance.empty() ? config::to_string(plan.network->sample.sigma) : o.variance;
  const auto variance = config::value_named<eval::ModelVariance>(name);
  const bool known =
      variance && (*variance != eval::ModelVariance::kAnalytic || !o.variance.empty());
  return known ? *variance : eval::ModelVariance::kSmall;
}

// The network and the timesteps that are asked for: those of `ddpm sample --ddpm --steps`, or of the
// flow.
pipeline::SamplePlan plan_measurement(const VlbOptions& o, const Processes& processes) {
  pipeline::SampleOptions sampling = o.sample;
  sampling.num.reset();  // --num is the number of images to measure
  take_own_conditions_(sampling);
  if (!has_own_chain(o)) {
    pipeline::SamplePlan plan = pipeline::plan_sampling(sampling);
    plan.generate.device = processes.device;
    return plan;
  }
  sampling.ddpm = true;
  if (o.variance == "analytic") sampling.sigma = o.variance;
  pipeline::SamplePlan plan = pipeline::plan_sampling(sampling);
  if (!o.sample.steps) {
    const int64_t timesteps = plan.network->description.diffusion.schedule.timesteps;
    plan.config.steps = o.ode ? std::min(kFlowSteps, timesteps) : timesteps;
    plan.config.steps_at.clear();
  }
  if (o.ode && !o.sample.spacing) plan.config.spacing = sample::Spacing::kLogSnr;
  settle_(plan, sampling, processes);
  return plan;
}

std::string spacing_of(const sample::SampleConfig& config) {
  std::string text = config::to_string(config.spacing);
  if (config.stepping == sample::Stepping::kDiffusers) text += " of diffusers";
  if (config.steps_offset > 0) text += fmt::format(" with offset {}", config.steps_offset);
  return text;
}

eval::LikelihoodOptions likelihood_options(const VlbOptions& o, const pipeline::SamplePlan& plan) {
  eval::LikelihoodOptions options{.variance = chosen_variance(o, plan),
                                  .clip = plan.config.clip != sample::Clip::kNone,
                                  .calls = o.calls,
                                  .seed = plan.generate.seed,
                                  .batch = o.sample.batch.value_or(64),
                                  .device = plan.generate.device,
                                  .precision = plan.precision,
                                  .deterministic = plan.deterministic};
  if (!has_own_chain(o)) return options;
  const diffusion::Schedule schedule(plan.network->description.diffusion.schedule);
  options.plan = sample::timestep_plan(schedule, plan.config);
  options.spacing = spacing_of(plan.config);
  options.posterior_variance = plan.config.posterior_variance;
  return options;
}

// The folder of the results. It may hold results of the same protocol.
fs::path open_bound_folder(const VlbOptions& o, const pipeline::SamplePlan& plan,
                           const std::string& protocol, const dist::World& world) {
  nlohmann::ordered_json json{{"protocol_line", protocol}, {"weights_crc32c", plan.weights_crc32c}};
  const std::vector<double>& measured = plan.config.posterior_variance;
  if (!measured.empty())
    json["posterior_variance_crc32c"] = io::crc32c(io::bytes_of(std::span(measured)));
  const std::string settings = io::json_text(json, 1);
  const fs::path folder =
      o.out.empty() ? eval::default_result_folder(plan.folder.parent_path(), "likelihood", settings)
                    : fs::path(o.out);
  world.on_main("make the folder", [&] { eval::claim_result_folder(folder, settings); });
  return folder;
}

void print_bound(const VlbOptions& o, const eval::Likelihood& found, const std::string& split,
                 const std::string& protocol, const fs::path& folder) {
  const std::string picture = (folder / "likelihood.png").string();
  if (o.json) {
    nlohmann::ordered_json json{{"bits_per_dim", found.total.value},
                                {"bits_per_dim_error", found.total.error},
                                {"prior", found.prior.value},
                                {"decoder", found.decoder.value},
                                {"bound", eval::describe_bound(found)},
                                {"split", split},
                                {"num", found.images},
                                {"calls", found.terms.size()},
                                {"csv", (folder / "likelihood.csv").string()},
                                {"picture", picture},
                                {"protocol_line", protocol}};
    if (has_own_chain(o)) json["steps"] = found.jumps;
    fmt::print("{}\n", io::json_text(json));
    return;
  }
  fmt::print("{}{}\n{}\n", eval::to_text(found), protocol, picture);
}

eval::OdeOptions ode_options(const VlbOptions& o, const pipeline::SamplePlan& plan) {
  const diffusion::Schedule schedule(plan.network->description.diffusion.schedule);
  return {.times = eval::flow_times(schedule, sample::timestep_plan(schedule, plan.config)),
          .spacing = spacing_of(plan.config),
          .probes = o.probes,
          .seed = plan.generate.seed,
          .batch = o.sample.batch.value_or(64),
          .device = plan.generate.device,
          .precision = plan.precision,
          .deterministic = plan.deterministic};
}

void print_flow(const VlbOptions& o, const eval::OdeLikelihood& found, const std::string& split,
                const std::string& protocol, const fs::path& folder) {
  const std::string csv = (folder / "ode_likelihood.csv").string();
  if (!o.json) {
    fmt::print("{}{}\n{}\n", eval::to_text(found), protocol, csv);
    return;
  }
  fmt::print("{}\n", io::json_text({{"bits_per_dim", found.total.value},
                                    {"bits_per_dim_error", found.total.error},
                                    {"prior", found.prior.value},
                                    {"volume", found.volume.value},
                                    {"split", split},
                                    {"num", found.images.size()},
                                    {"timesteps", found.points.size()},
                                    {"calls", found.calls},
                                    {"probes", o.probes},
                                    {"csv", csv},
                                    {"protocol_line", protocol}}));
}

eval::LikelihoodSubject open_subject(const VlbOptions& o, const pipeline::SamplePlan& plan,
                                     const eval::LikelihoodOptions& options,
                                     const dist::World& world) {
  eval::LikelihoodSubject subject = eval::likelihood_subject(
      plan.network->description, plan.network->path.string(), plan.weights_name(),
      open_reference(o, plan.network->path, DefaultSplit::kHeldOut), o.sample.num.value_or(256),
      options);
  if (subject.data.split == "train" && world.is_main()) {
    spdlog::warn(
        "the network was trained on these images, and others may be less likely; hold some out "
        "with "
        "data.holdout, or name others with --reference");
  }
  return subject;
}

int run_flow(const VlbOptions& o, const pipeline::SamplePlan& plan, const dist::World& world) {
  const eval::OdeOptions options = ode_options(o, plan);
  const eval::LikelihoodSubject subject = open_subject(o, plan, {}, world);
  const nn::UNet unet = pipeline::load_unet(plan);
  const std::string protocol = eval::protocol_line(subject, options);
  const fs::path folder = open_bound_folder(o, plan, protocol, world);
  const auto found = eval::measure_ode_likelihood(unet, subject, options, world);
  if (!world.is_main()) return kOk;
  eval::write_likelihood(folder, found);
  print_flow(o, found, subject.data.split, protocol, folder);
  return kOk;
}

int run_bound(const VlbOptions& o, const pipeline::SamplePlan& plan, const dist::World& world) {
  const eval::LikelihoodOptions options = likelihood_options(o, plan);
  const eval::LikelihoodSubject subject = open_subject(o, plan, options, world);
  const nn::UNet unet = pipeline::load_unet(plan);
  const std::string protocol = eval::protocol_line(subject, options);
  const fs::path folder = open_bound_folder(o, plan, protocol, world);
  const eval::Likelihood found = eval::measure_likelihood(unet, subject, options, world);
  if (!world.is_main()) return kOk;
  eval::write_likelihood(
      folder, found,
      fmt::format("{} ({})", plan.network->path.filename().string(), plan.weights_name()));
  print_bound(o, found, subject.data.split, protocol, folder);
  return kOk;
}

int run_likelihood(const VlbOptions& o) {
  refuse_unused_flags(o);
  const EndOnSignal ending("the measurements are lost");
  const Processes processes = join_to_sample(detected_launch(), o.sample.device);
  const pipeline::SamplePlan plan = plan_measurement(o, processes);
  return o.ode ? run_flow(o, plan, processes.world) : run_bound(o, plan, processes.world);
}

void add_bound_flags(CLI::App& command, VlbOptions& o) {
  command
      .add_option(
          "--calls", o.calls,
          "network calls per image, 2 or more: t = 1, and one random t of each part of 2..T, an "
          "unbiased estimate; 0: every t")
      ->check(whole(0, int64_t{1} << 30))
      ->capture_default_str();
  command
      .add_option("--variance,--sigma", o.variance,
                  "variance of the model's reverse step, as sample --sigma; analytic is the "
                  "optimal one, measured on first use (default: the checkpoint's sigma if it is "
                  "small, large or learned, else small)")
      ->check(one_of(config::names<eval::ModelVariance>()));
  command
      .add_option("--steps", o.sample.steps,
                  "the bound of the chain of so many steps that ddpm sample --ddpm --steps runs "
                  "(default: all T; for --ode 50)")
      ->check(whole(1, int64_t{1} << 40));
  add_spacing_flag(command, o.sample);
  command
      .add_option("--clip", o.sample.clip,
                  "none keeps predicted pixels outside [-1,1]; the others clamp them")
      ->check(one_of(config::names<sample::Clip>()));
}

void add_flow_flags(CLI::App& command, VlbOptions& o) {
  CLI::Option* ode =
      command
          .add_flag("--ode", o.ode,
                    "the likelihood of dequantised images by the probability-flow ODE (Song 2021) "
                    "instead of the bound; timesteps even in log-SNR unless --spacing is given")
          ->excludes("--variance")
          ->excludes("--calls")
          ->excludes("--clip");
  command
      .add_option("--probes", o.probes,
                  "for --ode: random vectors per image and timestep that estimate the divergence; "
                  "0: the exact one, which takes a backward pass per pixel and channel")
      ->check(whole(0, 4096))
      ->needs(ode)
      ->capture_default_str();
}

}  // namespace

void add_eval_likelihood(CLI::App& eval, Command& chosen) {
  auto o = std::make_shared<VlbOptions>();
  CLI::App* command = eval.add_subcommand(
      "likelihood",
      "The variational bound in bits/dim, term by term (Ho 2020, Eqs. 5 and 13), or the likelihood "
      "by the probability-flow ODE");
  add_network_flags(*command, o->sample);
  add_reference_flags(*command, *o);
  command->add_option("--num", o->sample.num, "images (default: 256)")
      ->check(whole(1, int64_t{1} << 40));
  add_bound_flags(*command, *o);
  add_flow_flags(*command, *o);
  command
      ->add_option("--out", o->out,
                   "folder for likelihood.csv and likelihood.png (default: next to the samples; "
                   "other settings "
                   "have another folder)")
      ->type_name("FOLDER");
  add_json_flag(*command, o->json);
  command->footer(
      "Example:\n  ddpm eval likelihood --ckpt runs/mine\n"
      "  ddpm eval likelihood --ckpt runs/mine --steps 10 --sigma analytic\n"
      "  ddpm eval likelihood --ckpt runs/mine --ode");
  command->callback([o, &chosen] { chosen = [o] { return run_likelihood(*o); }; });
}

}  // namespace ddpm::cli
