#pragma once

#include "ddpm/config/fields.h"

#include <vector>

#include <torch/nn/module.h>

namespace ddpm::nn {

struct EmaConfig {
  /// One average per decay; 0 <= decay < 1. Sampling uses the first.
  std::vector<double> decays{0.9999};
  bool warmup = true;  ///< decay at update n is min(decay, (1 + n) / (10 + n))

  bool operator==(const EmaConfig&) const = default;
};

/// The decay of the n-th update, n >= 1.
double decay_at(double decay, bool warmup, int64_t n);

/// The share of the initial weights in an average after so many updates: the product of the decays
/// (without warm-up, decay^updates).
double initial_share(double decay, bool warmup, int64_t updates);

/// Above this share of initial weights, samples of an average are poor.
constexpr double kYoungShare = 0.05;

/// The keys of [ema].
void fields(config::Fields& f, EmaConfig& c);

/// An exponential moving average of parameters (Ho 2020, App. B: decay 0.9999).
class Ema {
 public:
  /// Starts at the parameters' values.
  Ema(const std::vector<torch::Tensor>& parameters, double decay, bool warmup);

  /// The next update is the n-th, n >= 1: its weight 1 - decay_n goes into a tensor, which a
  /// recorded update reads.
  void set_update_(int64_t n);
  /// average += (1 - decay_n) (parameter - average). No host sync.
  void update_(const std::vector<torch::Tensor>& parameters);
  void update_(const std::vector<torch::Tensor>& parameters, int64_t n) {
    set_update_(n);
    update_(parameters);
  }

  double decay() const { return decay_; }
  /// The decay of the n-th update.
  double decay_at(int64_t n) const { return nn::decay_at(decay_, warmup_, n); }
  /// In the order of the parameters.
  const std::vector<torch::Tensor>& averages() const { return averages_; }

 private:
  double decay_;
  bool warmup_;
  std::vector<torch::Tensor> averages_;
  torch::Tensor weight_;  // of the parameters in the next update
};

/// While it lives, the module's parameters are the given tensors instead of its own.
class WeightSwap {
 public:
  WeightSwap(torch::nn::Module& module, const std::vector<torch::Tensor>& weights);
  ~WeightSwap();
  WeightSwap(const WeightSwap&) = delete;
  WeightSwap& operator=(const WeightSwap&) = delete;

 private:
  std::vector<torch::Tensor> parameters_;
  std::vector<torch::Tensor> own_;
};

}  // namespace ddpm::nn
