#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/eval/features.h"
#include "ddpm/eval/images.h"
#include "ddpm/eval/metrics.h"
#include "ddpm/eval/reference.h"
#include "processes.h"
#include "sample_flags.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace CLI {
class App;
}

namespace ddpm::cli {

/// The flags that `ddpm eval` and its subcommands share.
struct EvalOptions {
  SampleOptions sample;                ///< --ckpt, --num, --seed, --steps, ...
  std::string samples;                 ///< images in place of a checkpoint
  std::string reference;               ///< config, images or statistics; "": the checkpoint's data
  std::vector<std::string> overrides;  ///< of the reference's config
  std::string split;                   ///< of a config's data; "": see open_reference
  std::string features = "train";
  std::string cache;
  bool json = false;
};

/// --reference, --set, --split.
void add_reference_flags(CLI::App& command, EvalOptions& options);
/// --features, --cache.
void add_feature_flags(CLI::App& command, EvalOptions& options);

/// What a config's data is measured with if --split does not say: the images that were trained on,
/// or those held out if there are any.
enum class DefaultSplit { kTraining, kHeldOut };

/// What samples are compared with.
struct ReferenceData {
  std::shared_ptr<const data::Dataset> images;  ///< nullptr if there are only statistics
  std::string split;                            ///< "train", "holdout", "all", "unknown"
  eval::NpzContent content = eval::NpzContent::kNoStatistics;  ///< of the file, if it is a .npz
};

/// That of options.reference; of `checkpoint`'s config if it is empty.
ReferenceData open_reference(const EvalOptions& options, const std::filesystem::path& checkpoint,
                             DefaultSplit split = DefaultSplit::kTraining);

/// Feature network and reference statistics, ready to compare samples with.
struct Ruler {
  ReferenceData data;
  std::unique_ptr<eval::FeatureExtractor> features;
  eval::Reference reference;
};
Ruler open_ruler(const EvalOptions& options, const std::filesystem::path& checkpoint,
                 const Processes& world);

/// Images drawn when they are asked for, as `ddpm sample` draws them.
eval::ImageSource drawn_images(const SamplePlan& plan);

/// For each of a plan's images, which of the classes in turn it has; empty if there is one or none.
std::vector<int64_t> classes_of(const SamplePlan& plan);
/// Images of `period` classes in turn, likewise.
std::vector<int64_t> classes_in_turn(const std::vector<int64_t>& images, int64_t period);

/// What decides how a plan's images look besides its sampler: checkpoint, weights, precision,
/// classes and seed.
nlohmann::ordered_json samples_json(const SamplePlan& plan, const SampleOptions& options);

/// What decides a number besides the samples, as JSON: feature network, its hash, resize, split...
nlohmann::ordered_json protocol_json(const Ruler& ruler);
/// The same in one line.
std::string protocol_line(const nlohmann::ordered_json& protocol);

/// frechet, kernel, score, precision, recall, ... each with "_error"; null where not known.
nlohmann::ordered_json metrics_json(const eval::Metrics& metrics);

/// "1.25 +- 0.03", or "1.25 +- unknown".
std::string to_text(const eval::Measured& number);

/// The table for people.
void print_metrics(const eval::Metrics& metrics, const eval::ExtractorDescription& network);

}  // namespace ddpm::cli
