#pragma once

#include "ddpm/exchange/model.h"
#include "ddpm/nn/precision.h"
#include "ddpm/pipeline/sample_plan.h"
#include "ddpm/sample/generate.h"
#include "ddpm/sample/sample_config.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::pipeline {

/// How a network is opened to sample.
struct PipelineOptions {
  std::string weights = {};  ///< raw, ema, ema-2, ema-length-0.07, ...; "": ema if there is one
  torch::Device device = torch::kCPU;
  nn::Precision precision = nn::Precision::kFp32;
};

/// Which images to sample.
struct SampleRequest {
  int64_t num = 1;
  /// Number of the first image. Image i of a seed does not depend on the others.
  int64_t first = 0;
  uint64_t seed = 0;
  int64_t batch = 64;                     ///< images at a time; does not change the images
  std::vector<std::string> classes = {};  ///< in turn, by name or number; empty: all
  /// Of a network with a condition: uint8 [M,c,h,w]; image i has row i mod M.
  torch::Tensor conditions = {};
  /// Of a vector-conditional network: [M,D] of any type of real numbers; image i has row i mod M;
  /// undefined: the training vectors that the network keeps.
  torch::Tensor vectors = {};
  /// Called after each step; false stops, and the samples are empty.
  std::function<bool(const sample::Progress&)> progress = {};
};

/// A trained network that samples: what a program needs of this library to draw images. The command
/// `ddpm sample` with the same settings draws the same.
class Pipeline {
 public:
  /// `source`: a run, a checkpoint, a diffusers folder or a file of weights (exchange::open). Throws
  /// IoError or UsageError.
  explicit Pipeline(const std::filesystem::path& source, const PipelineOptions& options = {});

  const exchange::Model& model() const { return *model_; }
  const PipelineOptions& options() const { return options_; }

  /// The network's default settings, changed by assignments to keys of [sample] (docs/config.md) as
  /// TOML: "steps=50", "method=ddim", "steps_at=[999, 500]". Method "auto" is that of `ddpm sample`.
  /// Throws ConfigError or UsageError, which name the key.
  sample::SampleConfig settings(const std::vector<std::string>& assignments) const;

  /// The samples [N,C,H,W], float32 on the CPU, about [-1,1], unclamped: diffusion::to_uint8 makes
  /// pixels of them. [0,C,H,W] if request.progress stopped it. Throws UsageError if the request does
  /// not fit the network, Error if a sample is not finite. Method "bespoke" is fitted to the network
  /// first, if no fit is kept beside its run.
  torch::Tensor sample(const SampleRequest& request, const sample::SampleConfig& settings) const;

 private:
  std::vector<int64_t> classes_of(const SampleRequest& request) const;
  torch::Tensor vectors_of(const SampleRequest& request) const;
  std::function<torch::Tensor(const std::vector<int64_t>&)> conditions_of(
      const SampleRequest& request) const;
  SamplePlan plan_of(const SampleRequest& request, const sample::SampleConfig& settings) const;

  std::shared_ptr<const exchange::Model> model_;
  PipelineOptions options_;
  nn::UNet unet_;
};

}  // namespace ddpm::pipeline
