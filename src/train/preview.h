#pragma once

#include "ddpm/sample/generate.h"
#include "ddpm/train/experiment.h"
#include "ddpm/train/learner.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::train {

/// Sample grids during training: DDIM with eta 0 in train.sample_steps steps, from a fixed x_T,
/// with classes in turn. If the network has a condition, each sample stands beside its own.
class Preview {
 public:
  /// Receives a grid, uint8 [C,H,W], and the name of its weights: "raw", "ema", ...
  using Sink = std::function<void(const std::string& weights, const torch::Tensor& grid)>;

  Preview(const Experiment& experiment, const torch::Device& device);

  /// Takes the pictures of the first of these images as conditions, if the network has one. On rank
  /// 0. Throws IoError.
  void condition_on_(const data::Dataset& images);

  /// Called after each network call. If it returns false, sampling stops and the grid is dropped.
  using Watch = std::function<bool(const std::string& weights, const sample::Progress& progress)>;

  /// Samples on rank 0, with the raw weights and with each set of EMA weights. Collective.
  void draw(Learner& learner, const dist::World& world, const Watch& watch, const Sink& sink) const;

 private:
  torch::Tensor pictures_of(const std::vector<int64_t>& images) const;
  torch::Tensor arranged(const torch::Tensor& images) const;
  torch::Tensor grid(Learner& learner, const std::string& weights, const Watch& watch) const;

  const nn::UNetConfig network_;
  sample::SampleConfig sample_;
  int64_t count_;
  nn::Precision precision_;
  bool cuda_graph_;
  uint64_t seed_;
  torch::Device device_;
  torch::Tensor pictures_;  // uint8 [N,c,h,w], used in turn; undefined without a condition
};

}  // namespace ddpm::train
