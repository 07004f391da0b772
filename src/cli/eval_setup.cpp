#include "eval_setup.h"

#include "ddpm/data/factory.h"
#include "ddpm/eval/classifier.h"
#include "ddpm/eval/digest.h"
#include "ddpm/io/folder.h"
#include "ddpm/io/image.h"
#include "ddpm/io/json_text.h"
#include "ddpm/train/experiment.h"
#include "flags.h"
#include "shared_flags.h"

#include <cmath>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

data::DataConfig images_at(const fs::path& path) {
  data::DataConfig config;
  config.path = path;
  config.has_config = false;
  return config;
}

ReferenceData part_of(const train::Experiment& experiment, config::Document& document,
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

void add(nlohmann::ordered_json& json, const std::string& name,
         const std::optional<eval::Measured>& value) {
  if (!value) {
    json[name] = nullptr;
    return;
  }
  json[name] = value->value;
  json[name + "_error"] = value->error;
}

}  // namespace

void add_reference_flags(CLI::App& command, EvalOptions& o) {
  command
      .add_option("--reference", o.reference,
                  "images to compare with: a config (its data), images (folder, zip, npz, ...) "
                  "or statistics (.npz with mu and sigma) (default: the data of the "
                  "checkpoint's config)")
      ->type_name("PATH");
  add_set_flag(command, o.overrides, "that config");
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

ReferenceData open_reference(const EvalOptions& options, const fs::path& checkpoint,
                             DefaultSplit split) {
  fs::path path = options.reference;
  if (path.empty()) {
    path = checkpoint.empty() ? fs::path() : checkpoint / "config.toml";
    if (path.empty() || !fs::exists(path))
      throw UsageError("which images to compare with? name a config or images with --reference");
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
  const eval::NpzContent content = eval::npz_content(path);
  if (content == eval::NpzContent::kStatistics) return {nullptr, "unknown", content};
  return {data::open_dataset(images_at(path), 0), "all", content};
}

Ruler open_ruler(const EvalOptions& options, const fs::path& checkpoint, const Processes& world) {
  Ruler ruler;
  ruler.data = open_reference(options, checkpoint);
  const fs::path cache = options.cache.empty() ? eval::default_cache() : fs::path(options.cache);
  io::make_folder(cache, "choose another with --cache");  // before there is work to lose
  const bool train = options.features == "train";
  if (ruler.data.images == nullptr) {
    if (train) {
      throw UsageError(
          "statistics belong to the network that made them: name it with --features FILE");
    }
    ruler.features = eval::open_features(options.features, world.device);
    ruler.reference = eval::read_statistics(options.reference);
    return ruler;
  }
  const data::Dataset& images = *ruler.data.images;
  if (images.size() < 2)
    throw UsageError("the reference holds one image; a distance needs at least two (--reference)");
  const std::string digest = eval::digest_of_images(images);
  if (train) {
    // Rank 0 trains and leaves it in the cache, where the others find it.
    const auto open = [&] {
      ruler.features = eval::Classifier::of(images, digest, {}, cache, world.device);
    };
    world.world.on_main("train the feature classifier", open);
    if (!world.world.is_main()) open();
  } else {
    ruler.features = eval::open_features(options.features, world.device);
  }
  ruler.reference =
      eval::measure_reference(images, digest, *ruler.features, cache, world.device, world.world);
  if (ruler.data.content == eval::NpzContent::kStatisticsAndImages) {
    if (train) {
      spdlog::info("the statistics in {} are of another network and not used", options.reference);
    } else {
      ruler.reference = eval::with_statistics(std::move(ruler.reference),
                                              eval::read_statistics(options.reference));
    }
  }
  spdlog::info("reference: {}{}", ruler.reference.description,
               ruler.reference.cached ? ", statistics from the cache" : "");
  return ruler;
}

eval::ImageSource drawn_images(const SamplePlan& plan) {
  const nn::UNet unet = load_unet(plan);
  return [plan, unet](const std::vector<int64_t>& images, const eval::ImageSink& sink) {
    sample::GenerateOptions generate = plan.generate;
    generate.images = images;
    draw_images(plan, unet, generate, [&](int64_t first, const torch::Tensor& batch) {
      sink(first, io::to_uint8(batch.cpu()).contiguous());
    });
  };
}

std::vector<int64_t> classes_of(const SamplePlan& plan) {
  return classes_in_turn(plan.generate.images, std::ssize(plan.classes));
}

std::vector<int64_t> classes_in_turn(const std::vector<int64_t>& images, int64_t period) {
  std::vector<int64_t> classes;
  if (period < 2) return classes;
  for (const int64_t image : images) classes.push_back(image % period);
  return classes;
}

nlohmann::ordered_json samples_json(const SamplePlan& plan, const SampleOptions& options) {
  const bool all =
      plan.classes == sample::image_range(0, plan.network->description.unet.image.classes);
  std::string precision = config::to_string(plan.precision);
  if (plan.deterministic) precision += ", deterministic";
  return {{"samples", plan.network->path.string()},
          {"weights", plan.weights_name()},
          {"precision", precision},
          {"classes", plan.classes.empty() ? "none"
                      : all                ? fmt::format("all {} in turn", plan.classes.size())
                            : fmt::format("{} in turn", fmt::join(plan.classes, ","))},
          {"seed", options.seed}};
}

nlohmann::ordered_json protocol_json(const Ruler& ruler) {
  const eval::ExtractorDescription& network = ruler.features->description();
  const eval::Reference& reference = ruler.reference;
  const auto number = [](int64_t n) {
    return n > 0 ? nlohmann::ordered_json(n) : nlohmann::ordered_json("unknown");
  };
  return {{"distance", network.distance_name},
          {"reference", reference.description},
          {"reference_num", number(reference.gaussian.count)},
          {"reference_images", reference.features.defined() ? reference.features.size(0) : 0},
          {"split", ruler.data.split},
          {"features", network.name},
          {"features_sha256", network.hash},
          {"dimensions", ruler.reference.gaussian.mean.size(0)},
          {"resize", network.resize}};
}

std::string protocol_line(const nlohmann::ordered_json& protocol) {
  std::string line = "protocol:";
  for (const auto& [key, value] : protocol.items()) {
    if (key == "distance") continue;  // stands before the number itself
    std::string text = value.is_string() ? value.get<std::string>() : io::json_text(value);
    if (key.ends_with("sha256")) text = text.substr(0, 12);
    line += fmt::format("{} {} {}", line.ends_with(':') ? "" : ";", key, text);
  }
  return line;
}

nlohmann::ordered_json metrics_json(const eval::Metrics& m) {
  nlohmann::ordered_json json;
  using Scores = eval::ManifoldScores;
  const auto score = [&](eval::Measured Scores::*part) {
    return m.manifold ? std::optional<eval::Measured>((*m.manifold).*part) : std::nullopt;
  };
  add(json, "frechet", m.frechet);
  add(json, "spatial_frechet", m.spatial);
  add(json, "kernel", m.kernel);
  add(json, "score", m.score);
  add(json, "precision", score(&Scores::precision));
  add(json, "recall", score(&Scores::recall));
  add(json, "density", score(&Scores::density));
  add(json, "coverage", score(&Scores::coverage));
  add(json, "authenticity", m.authenticity);
  json["manifold_num"] = m.manifold_count;
  json["warnings"] = m.warnings;
  return json;
}

std::string to_text(const eval::Measured& number) {
  if (std::isnan(number.error)) return fmt::format("{:>10.4g} +- unknown", number.value);
  return fmt::format("{:>10.4g} +- {:.2g}", number.value, number.error);
}

void print_metrics(const eval::Metrics& m, const eval::ExtractorDescription& network) {
  const auto row = [](const std::string& name, const std::optional<eval::Measured>& value) {
    if (value) fmt::print("{:<14} {}\n", name, to_text(*value));
  };
  for (const std::string& warning : network.warnings) fmt::print("NOT RELIABLE: {}\n", warning);
  const std::string frechet = to_text(m.frechet);
  fmt::print("{}: {}\n", network.distance_name, frechet.substr(frechet.find_first_not_of(' ')));
  row("spatial", m.spatial);
  row("kernel (MMD^2)", m.kernel);
  row("class score", m.score);
  if (m.manifold) {
    row("precision", m.manifold->precision);
    row("recall", m.manifold->recall);
    row("density", m.manifold->density);
    row("coverage", m.manifold->coverage);
  }
  row("authenticity", m.authenticity);
}

}  // namespace ddpm::cli
