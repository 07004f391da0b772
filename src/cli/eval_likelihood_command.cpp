#include "ddpm/base/signals.h"
#include "ddpm/data/relabelled.h"
#include "ddpm/data/statistics.h"
#include "ddpm/eval/likelihood.h"
#include "ddpm/eval/result_folder.h"
#include "ddpm/io/file.h"
#include "ddpm/io/image.h"
#include "ddpm/io/json_text.h"
#include "eval_setup.h"
#include "eval_subcommands.h"
#include "flags.h"
#include "shared_flags.h"

#include <algorithm>
#include <cmath>

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
  std::string out;
};

eval::ModelVariance variance_of(const VlbOptions& o, const SamplePlan& plan) {
  const std::string name = o.variance.empty() ? config::to_string(plan.config.sigma) : o.variance;
  if (name == "learned") return eval::ModelVariance::kLearned;
  return name == "large" ? eval::ModelVariance::kLarge : eval::ModelVariance::kSmall;
}

std::string variance_name(eval::ModelVariance variance) {
  return variance == eval::ModelVariance::kLearned ? "learned"
         : variance == eval::ModelVariance::kLarge ? "large (beta)"
                                                   : "small (beta_tilde)";
}

void write_files(const fs::path& folder, const eval::Likelihood& found, const std::string& title) {
  io::write_file_atomic(folder / "likelihood.csv", eval::to_csv(found));
  io::write_png(folder / "likelihood.png", eval::draw_likelihood(found, title));
}

// The images with their classes numbered as the network knows them.
std::shared_ptr<const data::Dataset> in_classes_of(const nn::ModelDescription& model,
                                                   std::shared_ptr<const data::Dataset> images) {
  const data::KnownClasses known{model.unet.image.classes, model.class_names};
  return data::relabelled(images, data::class_numbers(images->class_names(), known), known);
}

// Throws UsageError if the bound cannot be measured as asked for.
void check(const VlbOptions& o, const SamplePlan& plan, const ReferenceData& data) {
  const int64_t timesteps = plan.network->description.diffusion.schedule.timesteps;
  if (o.calls > 0 && o.calls < eval::fewest_calls(timesteps)) {
    throw UsageError(fmt::format(
        "--calls 1 sees t = 1 alone and leaves out the terms of t = 2 to {}; use 2 or more, or 0 "
        "for every t",
        timesteps));
  }
  if (data.images == nullptr) throw UsageError("the likelihood is one of images, not statistics");
  const data::ImageShape shape{plan.generate.channels, plan.generate.height, plan.generate.width};
  if (data.images->shape() != shape)
    throw UsageError("the images of --reference have another shape than those of the network");
  if (plan.network->description.unet.class_conditional && data.images->class_count() == 0)
    throw UsageError("this network needs the images' classes, and --reference has none");
  if (o.variance == "learned" && !plan.network->description.unet.learned_variance)
    throw UsageError(
        "--variance learned needs a network with model.learned_variance; this one has none");
}

// "an upper bound ...": what the number is.
std::string describe_bound(const eval::Likelihood& found, int64_t timesteps) {
  if (found.every_t) return "an upper bound on -log2 p(x), each term with one noise sample";
  return fmt::format(
      "an unbiased estimate of an upper bound on -log2 p(x), from {} of {} terms per image",
      found.terms.size(), timesteps);
}

int run_likelihood(const VlbOptions& o) {
  if (!o.sample.classes.empty()) {
    throw UsageError(
        "--class: a likelihood takes each image's own class; choose images with --reference");
  }
  const EndOnSignal ending("what was measured is lost");
  const Processes world = join_to_draw(detected_launch(), o.sample.device);
  SampleOptions options = o.sample;
  const int64_t wanted = options.num.value_or(256);
  options.num.reset();
  SamplePlan plan = plan_sampling(options);
  plan.generate.device = world.device;
  ReferenceData data = open_reference(o, plan.network->path, DefaultSplit::kHeldOut);
  check(o, plan, data);
  if (plan.network->description.unet.class_conditional)
    data.images = in_classes_of(plan.network->description, data.images);
  if (data.split == "train" && world.world.is_main()) {
    spdlog::warn(
        "these images were trained on, and others may be less likely; hold some out with "
        "data.holdout, or name others with --reference");
  }

  const nn::UNet unet = load_unet(plan);
  const auto denoiser_of = [&](const torch::Tensor& labels) {
    return nn::make_denoiser(
        unet, plan.precision,
        plan.network->description.unet.class_conditional ? labels : torch::Tensor());
  };
  const eval::ModelVariance variance = variance_of(o, plan);
  const int64_t timesteps = plan.network->description.diffusion.schedule.timesteps;
  const auto images = eval::representative_indices(data.images->size(), wanted);
  const std::string protocol = fmt::format(
      "protocol: {} {} images of {}; {} ({} weights); {}{}; variance {}; x0 {}; {} of {} network "
      "calls per image; seed {}",
      images.size(), data.split, data.images->description(), plan.network->path.string(),
      plan.weights_name(), config::to_string(plan.precision),
      plan.deterministic ? ", deterministic" : "", variance_name(variance),
      plan.config.clip == sample::Clip::kNone ? "not clamped" : "clamped to [-1,1]",
      o.calls > 0 ? std::min(o.calls, timesteps) : timesteps, timesteps, options.seed);
  const auto weights =
      nlohmann::json::parse(plan.settings, nullptr, false).value("weights_crc32c", int64_t{0});
  const std::string settings =
      io::json_text({{"protocol_line", protocol}, {"weights_crc32c", weights}}, 1);
  const fs::path folder =
      o.out.empty() ? eval::default_result_folder(plan.folder.parent_path(), "likelihood", settings)
                    : fs::path(o.out);
  world.world.on_main("make the folder", [&] { eval::claim_result_folder(folder, settings); });
  const eval::Likelihood found = eval::measure_likelihood(
      denoiser_of, diffusion::Schedule(plan.network->description.diffusion.schedule),
      plan.network->description.diffusion.prediction, *data.images, images,
      {.variance = variance,
       .clip = plan.config.clip != sample::Clip::kNone,
       .calls = o.calls,
       .seed = static_cast<uint64_t>(options.seed),
       .batch = options.batch.value_or(64),
       .device = plan.generate.device,
       .precision = plan.precision,
       .deterministic = plan.deterministic},
      world.world);
  if (!world.world.is_main()) return kOk;
  write_files(folder, found,
              fmt::format("{} ({})", plan.network->path.filename().string(), plan.weights_name()));

  if (o.json) {
    nlohmann::ordered_json json{{"bits_per_dim", found.total.value},
                                {"bits_per_dim_error", found.total.error},
                                {"prior", found.prior.value},
                                {"decoder", found.decoder.value},
                                {"bound", describe_bound(found, timesteps)},
                                {"split", data.split},
                                {"num", found.images},
                                {"calls", found.terms.size()},
                                {"csv", (folder / "likelihood.csv").string()},
                                {"picture", (folder / "likelihood.png").string()},
                                {"protocol_line", protocol}};
    fmt::print("{}\n", io::json_text(json));
    return kOk;
  }
  const double rest = found.total.value - found.prior.value - found.decoder.value;
  const std::string error =
      std::isnan(found.total.error) ? "unknown" : fmt::format("{:.4f}", found.total.error);
  fmt::print("L_vlb    {:>9.4f} +- {} bits/dim, {}\n", found.total.value, error,
             describe_bound(found, timesteps));
  fmt::print("  L_T    {:>9.4f}\n  L_1..  {:>9.4f}\n  L_0    {:>9.4f}\n{}\n{}\n", found.prior.value,
             rest, found.decoder.value, protocol, (folder / "likelihood.png").string());
  return kOk;
}

}  // namespace

void add_eval_likelihood(CLI::App& eval, Command& chosen) {
  auto o = std::make_shared<VlbOptions>();
  CLI::App* command = eval.add_subcommand(
      "likelihood", "The variational bound in bits/dim, term by term (Ho 2020, Eqs. 5 and 13)");
  add_network_flags(*command, o->sample);
  add_reference_flags(*command, *o);
  command->add_option("--num", o->sample.num, "images (default: 256)")
      ->check(whole(1, int64_t{1} << 40));
  command
      ->add_option(
          "--calls", o->calls,
          "network calls per image, 2 or more: t = 1, and one random t of each part of 2..T, an "
          "unbiased estimate; 0: every t")
      ->check(whole(0, int64_t{1} << 30))
      ->capture_default_str();
  command
      ->add_option("--variance", o->variance,
                   "variance of the model's reverse step (default: the checkpoint's sigma)")
      ->check(one_of({"small", "large", "learned"}));
  command
      ->add_option("--clip", o->sample.clip,
                   "none keeps predicted pixels outside [-1,1]; the others clamp them")
      ->check(one_of(config::names<sample::Clip>()));
  command
      ->add_option(
          "--out", o->out,
          "folder for likelihood.csv and likelihood.png (default: beside the samples, another for "
          "other settings)")
      ->type_name("FOLDER");
  add_json_flag(*command, o->json);
  command->footer("Example:\n  ddpm eval likelihood --ckpt runs/mine");
  command->callback([o, &chosen] { chosen = [o] { return run_likelihood(*o); }; });
}

}  // namespace ddpm::cli
