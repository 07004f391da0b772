#pragma once

#include "ddpm/config/fields.h"

#include <functional>
#include <vector>

#include <torch/nn/module.h>

namespace ddpm::nn {

struct EmaConfig {
  /// One average per decay; 0 <= decay < 1. Sampling uses the first.
  std::vector<double> decays{0.9999};
  bool warmup = true;  ///< decay at update n is min(decay, (1 + n) / (10 + n))
  /// One power-function average per relative length (power_ema.h), from which averages of other
  /// lengths are rebuilt after training; none: off.
  std::vector<double> power_lengths;
  int64_t snapshot_every = 0;  ///< steps between stored power-function averages; 0: see below

  /// The same for a training of so many steps: at most 40 snapshots if the key is 0. 0 without
  /// power_lengths.
  int64_t snapshot_interval(int64_t steps) const;

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

/// A moving average of parameters, by default the exponential one (Ho 2020, App. B: decay 0.9999).
class Ema {
 public:
  /// The weight of the parameters in the n-th update, n >= 1: 1 - decay_n.
  using Weight = std::function<double(int64_t n)>;

  /// Starts at the parameters' values.
  Ema(const std::vector<torch::Tensor>& parameters, Weight weight);
  Ema(const std::vector<torch::Tensor>& parameters, double decay, bool warmup);

  /// The next update is the n-th, n >= 1: its weight goes into a tensor, which a recorded update
  /// reads.
  void set_update_(int64_t n);
  /// average += weight_n (parameter - average). No host sync.
  void update_(const std::vector<torch::Tensor>& parameters);
  void update_(const std::vector<torch::Tensor>& parameters, int64_t n) {
    set_update_(n);
    update_(parameters);
  }

  double weight_at(int64_t n) const { return weight_at_(n); }
  /// In the order of the parameters.
  const std::vector<torch::Tensor>& averages() const { return averages_; }

 private:
  Weight weight_at_;
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
