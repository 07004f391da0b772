#pragma once

#include "ddpm/sample/generate.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/learner.h"

#include <cstdint>
#include <functional>
#include <string>

#include <torch/types.h>

namespace ddpm::train {

/// Grids of samples during training: by DDIM without noise in train.sample_steps steps, always from
/// the same x_T, with the classes in turn.
class Preview {
 public:
  /// Takes a grid, uint8 [C,H,W], and the name of its weights: "raw", "ema", ...
  using Sink = std::function<void(const std::string& weights, const torch::Tensor& grid)>;

  Preview(const Experiment& experiment, const torch::Device& device);

  /// Called after each network call; false stops, and the present grid is dropped.
  using Watch = std::function<bool(const std::string& weights, const sample::Progress& progress)>;

  /// Samples with the raw weights and each average, on rank 0. Collective.
  void draw(Learner& learner, const dist::World& world, const Watch& watch, const Sink& sink) const;

 private:
  torch::Tensor grid(Learner& learner, const std::string& weights, const Watch& watch) const;

  const nn::UNetConfig network_;
  sample::SampleConfig sample_;
  int64_t count_;
  nn::Precision precision_;
  bool cuda_graph_;
  uint64_t seed_;
  torch::Device device_;
};

}  // namespace ddpm::train
