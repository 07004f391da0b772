#pragma once

#include "ddpm/exchange/model.h"
#include "ddpm/nn/precision.h"
#include "ddpm/pipeline/inputs.h"
#include "ddpm/sample/generate.h"
#include "ddpm/sample/picture_folder.h"
#include "ddpm/sample/sampler.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ddpm::pipeline {

/// A flag of the command line with its values; none if it takes none.
struct GivenFlag {
  std::string name;  ///< without dashes
  std::vector<std::string> values;
};

/// A parsed command line.
struct GivenFlags {
  std::string command;  ///< "sample"
  std::vector<GivenFlag> flags;
};

/// The flags of `ddpm sample`.
struct SampleOptions {
  std::string checkpoint;
  bool ddim = false;
  bool ddpm = false;
  std::string method;  // "": by the other flags, else the checkpoint's
  std::optional<double> eta;
  std::optional<std::string> sigma, spacing, stepping, clip;
  std::optional<int64_t> steps, order, num, batch;
  std::optional<int64_t> depth;  // of the pictures; none: the network's data.depth
  std::optional<std::vector<int64_t>> steps_at, sections;
  std::optional<double> guidance, guidance_rescale, guidance_parallel, guidance_norm,
      guidance_momentum, dynamic_threshold, dynamic_threshold_max;
  std::optional<std::vector<double>> guidance_interval;
  std::string guide, guide_weights;  // --guide-ckpt, --guide-weights
  std::string script_guide;          // --guide
  double guide_scale = 1.0;
  std::string vector, vectors;  // --vector, --vectors
  std::string condition;        // --condition
  /// The conditions without --condition, of a network that has one; empty: the user must give them.
  std::function<ConditionPictures(const exchange::Model& network)> default_condition;
  int64_t seed = 0;
  std::vector<std::string> classes;
  std::string weights;  // "": ema if the network has it
  std::string precision = "fp32";
  std::string device = "auto";
  std::string cuda_graph = "auto";
  std::string out, grid, save_tensors, init_noise;
  std::string only, in_batch;  // numbers of images, as in 3 or 0-4,7
  bool no_provenance = false;
  bool deterministic = false;
  bool keep = false;  // --continue
  bool overwrite = false;
  bool trajectory = false;
  bool animate = false;
  bool json = false;
  GivenFlags given;  // the command line itself
};

/// What the images have to agree with, beside the network: inpainting, restoration.
struct Condition {
  /// Puts its own rule around a batch's sampler; empty: no condition. rows: the numbers of the
  /// batch's images, int64 [B], on the device.
  std::function<std::unique_ptr<sample::Sampler>(std::unique_ptr<sample::Sampler> inner,
                                                 const torch::Tensor& rows)>
      around;
  bool differentiates = false;  ///< that rule takes gradients through the network
};

/// Everything that decides the samples, from the flags and the checkpoint.
struct SamplePlan {
  std::shared_ptr<const exchange::Model> network;  ///< its source, weights and description
  std::shared_ptr<const exchange::Model> guide;    ///< the network of --guide-ckpt, or null
  std::string script_guide;                        ///< the file of --guide, or ""
  double guide_scale = 1.0;                        ///< of script_guide
  sample::SampleConfig config;                     ///< steps resolved
  std::vector<int64_t> classes;  ///< image i is of class classes[i mod size]; empty: no classes
  ConditionPictures pictures;    ///< that the network is conditioned on
  SampleVectors vectors;         ///< the same
  sample::GenerateOptions generate;
  Condition condition;
  std::string task_name, task_settings, task_inputs;  ///< see set_task_; "" for plain sampling
  int64_t depth = 8;                                  ///< bits per channel of the pictures, 8 or 16
  int64_t grid_columns = 0;  ///< of the grid beside the folder; 0: by the classes
  bool in_order = false;  ///< each image follows from the one before: --animate shows them in turn
  nn::Precision precision = nn::Precision::kFp32;
  bool deterministic = false;
  std::filesystem::path folder;
  uint32_t weights_crc32c = 0;
  std::string settings;  ///< JSON: everything that decides how image i looks
  std::string source;    ///< JSON: the files that were read, for people

  /// "ema", "raw", "ema-2", ..., or "only" if the source has one set and does not say which.
  std::string weights_name() const {
    return network->weights_name.empty() ? "only" : network->weights_name;
  }
};

/// Throws UsageError if the plan has several classes or vectors, where its images must be of one.
/// `what`: whose images, for the message.
void expect_one_class(const SamplePlan& plan, const std::string& what);

/// Opens the network (exchange::open) unless it is given, and checks every flag against it. Writes
/// nothing. Throws UsageError or IoError.
SamplePlan plan_sampling(const SampleOptions& options,
                         std::shared_ptr<const exchange::Model> network = nullptr);

/// Sets plan.settings, plan.source and plan.folder: everything that decides how image i looks, the
/// files that were read, and the folder of the images (--out, else a different one for different
/// settings).
void describe_settings(const SampleOptions& options, SamplePlan& plan);

/// The plan's images, as the folder records them.
sample::PictureSet picture_set(const SamplePlan& plan);

/// Gives the plan a task besides plain sampling: `name` for its folder, `settings` (a JSON object)
/// for its sampling.json, `inputs` for people.
void set_task_(SamplePlan& plan, const SampleOptions& options, const std::string& name,
               const std::string& settings, const std::string& inputs);

/// Throws UsageError if the plan's method remembers former steps, which `what` (a flag or a command)
/// would make wrong. `way_out`: "use --rounds 1".
void expect_no_memory(const SamplePlan& plan, const std::string& what, const std::string& way_out);

}  // namespace ddpm::pipeline
