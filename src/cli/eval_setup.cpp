#include "eval_setup.h"

#include "ddpm/data/factory.h"
#include "ddpm/eval/jackknife.h"
#include "ddpm/train/experiment.h"
#include "flags.h"
#include "shared_flags.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

eval::ReferenceData part_of(const train::Experiment& experiment, config::Document& document,
                            const std::string& split, DefaultSplit otherwise) {
  if (split == "all") return {data::open_dataset(experiment.data, experiment.run.seed), split};
  data::Split data = train::open_data(experiment, document);
  const bool held_out = split == "holdout" || (split.empty() && data.held_out != nullptr &&
                                               otherwise == DefaultSplit::kHeldOut);
  if (!held_out) return {data.training, "train"};
  if (data.held_out == nullptr)
    throw UsageError("--split holdout: this config holds out no images (data.holdout is 0)");
  return {data.held_out, "holdout"};
}

}  // namespace

void add_reference_flags(CLI::App& command, EvalOptions& o) {
  command
      .add_option("--reference", o.reference,
                  "the reference: a config (its data), images (folder, zip, npz, ...) "
                  "or statistics (.npz with mu and sigma) (default: the data of the "
                  "checkpoint's config)")
      ->type_name("PATH");
  add_set_flag(command, o.overrides, "the reference's config");
  command
      .add_option("--split", o.split,
                  "which images of a config's data: those trained on, those held out, or all "
                  "(default: train; for a likelihood, holdout if there are any)")
      ->check(one_of({"train", "holdout", "all"}));
}

void add_feature_flags(CLI::App& command, EvalOptions& o) {
  command
      .add_option(
          "--features", o.features,
          "train: a classifier trained on the labelled reference; or a file: TorchScript, or "
          "the pt_inception weights (scripts/fetch_inception.sh)")
      ->type_name("train|FILE")
      ->capture_default_str();
  command
      .add_option("--cache", o.cache,
                  "folder for classifiers and reference statistics (default: "
                  "$DDPM_EVAL_CACHE, or ddpm/eval in the user's cache)")
      ->type_name("FOLDER");
}

eval::ReferenceData open_reference(const EvalOptions& options, const fs::path& checkpoint,
                                   DefaultSplit split) {
  fs::path path = options.reference;
  if (path.empty()) {
    path = checkpoint.empty() ? fs::path() : checkpoint / "config.toml";
    if (path.empty() || !fs::exists(path))
      throw UsageError("no reference images: name a config or images with --reference");
  }
  if (!fs::exists(path))
    throw IoError(path, "does not exist; --reference names a config or images");
  if (path.extension() == ".toml") {
    config::Document document = load_config(path, options.overrides);
    const train::Experiment experiment = train::read_experiment(document);
    return part_of(experiment, document, options.split, split);
  }
  if (!options.overrides.empty())
    throw UsageError("--set changes a config; --reference names no .toml file");
  if (!options.split.empty() && options.split != "all")
    throw UsageError("--split is for a config's data; --reference names no .toml file");
  return eval::reference_at(path);
}

eval::Evaluator open_evaluator(const EvalOptions& options, const fs::path& checkpoint,
                               const Processes& processes) {
  return {open_reference(options, checkpoint),
          {.features = options.features, .cache = options.cache, .device = processes.device},
          processes.world};
}

ConditionImages condition_images(const EvalOptions& options, const fs::path& checkpoint,
                                 int64_t num) {
  const eval::ReferenceData data = open_reference(options, checkpoint, DefaultSplit::kHeldOut);
  if (data.images == nullptr)
    throw UsageError(
        "the conditions are made from images, and --reference holds only statistics; name images "
        "with --reference, or conditions with --condition");
  return {data.images, data.split, eval::representative_indices(data.images->size(), num)};
}

std::shared_ptr<const std::optional<ConditionImages>> condition_on_data_(
    pipeline::SampleOptions& sample, const EvalOptions& options, int64_t num) {
  auto opened = std::make_shared<std::optional<ConditionImages>>();
  sample.default_condition = [=](const exchange::Model& network) {
    if (!*opened) *opened = condition_images(options, network.path, num);
    const ConditionImages& from = **opened;
    return pipeline::condition_pictures(
        from.images, from.chosen, network.description.unet,
        fmt::format("{} images of {}", from.split, from.images->description()));
  };
  return opened;
}

void take_own_conditions_(pipeline::SampleOptions& sample) {
  if (!sample.condition.empty())
    throw UsageError(
        "--condition: this command measures images, each with its own condition; leave it out");
  sample.default_condition = [](const exchange::Model&) { return pipeline::ConditionPictures(); };
}

}  // namespace ddpm::cli
