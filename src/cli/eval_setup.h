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
  std::string split = "train";
  std::string features = "train";
  std::string cache;
  bool json = false;
};

/// --reference, --set, --split.
void add_reference_flags(CLI::App& command, EvalOptions& options);
/// --features, --cache.
void add_feature_flags(CLI::App& command, EvalOptions& options);

/// The data set that samples are compared with, and its name in the protocol ("training images of
/// ..."). Where options.reference is empty: that of `checkpoint`'s config. nullptr where the
/// reference is a file of statistics.
struct ReferenceData {
  std::shared_ptr<const data::Dataset> images;
  std::string split;
};
ReferenceData open_reference(const EvalOptions& options, const std::filesystem::path& checkpoint);

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

/// "ddim, 50 steps, eta 0, leading, clip rederive": how a plan draws.
std::string describe_sampler(const sample::SampleConfig& config);

/// What decides a number besides the samples, as JSON: feature network, its hash, resize, split...
nlohmann::ordered_json protocol_json(const Ruler& ruler);
/// The same in one line.
std::string protocol_line(const nlohmann::ordered_json& protocol);

/// frechet, kernel, score, precision, recall, ... each with "_error"; null where not known.
nlohmann::ordered_json metrics_json(const eval::Metrics& metrics);

/// The table for people.
void print_metrics(const eval::Metrics& metrics, const std::string& distance_name);

}  // namespace ddpm::cli
