#pragma once

#include "ddpm/config/fields.h"

#include <cstdint>
#include <functional>
#include <vector>

#include <torch/nn/module.h>
#include <torch/types.h>

namespace ddpm::nn {

struct EmaConfig {
  /// One average per decay; 0 <= decay < 1. Sampling uses the first.
  std::vector<double> decays{0.9999};
  bool warmup = true;  ///< decay at update n is min(decay, (1 + n) / (10 + n))
  /// One power-function average per relative length (PowerProfile below), from which averages of other
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

// Power-function averages, and others rebuilt from them after training (Karras 2024, "Analyzing and
// Improving the Training Dynamics of Diffusion Models", arXiv 2312.02696, Sec. 3; docs/math.md,
// "Averages after the fact").

/// The relative lengths that have an exponent: above 12^(-1/2) it would be negative.
constexpr double kMinPowerLength = 0.001, kMaxPowerLength = 0.28;

/// The exponent gamma of the average of relative length sigma_rel, which is the standard deviation
/// of the profile tau^gamma on [0, 1] (Eq. 126): the root of
/// gamma^3 + 7 gamma^2 + (16 - sigma_rel^-2) gamma + 12 - sigma_rel^-2 with gamma >= 0.
double power_exponent(double length);

/// The weight of the parameters in the n-th update, n >= 1: 1 - beta_n with
/// beta_n = (1 - 1/n)^(exponent + 1) (Eq. 127). 1 for n = 1: the initial weights have no share.
double power_weight(double exponent, int64_t n);

/// The profile of an average after so many updates: its weight per step is
/// (gamma + 1) tau^gamma / steps^(gamma + 1) for 0 <= tau <= steps.
struct PowerProfile {
  double exponent = 0.0;
  double steps = 0.0;
  bool operator==(const PowerProfile&) const = default;
};

/// The integral of the product of two profiles (Eq. 151).
double inner_product(const PowerProfile& a, const PowerProfile& b);

/// The best sum of given profiles for a target.
struct ProfileFit {
  std::vector<double> coefficients;  ///< one per profile
  double error = 0.0;  ///< norm of (target - sum) over the norm of the target; at most 1
};

/// Profiles of stored averages. The same sum of the averages has the sum of the profiles.
class ProfileSpan {
 public:
  /// At least one profile.
  explicit ProfileSpan(std::vector<PowerProfile> profiles);
  /// The least squares (Alg. 3). If the target is one of the profiles, it alone has a coefficient.
  ProfileFit fit(const PowerProfile& target) const;

 private:
  std::vector<PowerProfile> profiles_;
  torch::Tensor gram_;     // of the profiles, each divided by its norm; float64 [N,N]
  torch::Tensor inverse_;  // of gram_
};

/// An interval of relative lengths.
struct LengthRange {
  double low = 0.0, high = 0.0;
};

/// The intervals of lengths that the span gives at `steps` with at most this error, to 1 % of a
/// length.
std::vector<LengthRange> lengths_within(const ProfileSpan& span, double steps, double error);

}  // namespace ddpm::nn
