#include "ddpm/nn/ema.h"

#include "ddpm/kernels/elementwise.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <torch/utils.h>

namespace ddpm::nn {

double decay_at(double decay, bool warmup, int64_t n) {
  if (!warmup) return decay;
  return std::min(decay, (1.0 + static_cast<double>(n)) / (10.0 + static_cast<double>(n)));
}

double initial_share(double decay, bool warmup, int64_t updates) {
  double share = 1.0;
  int64_t n = 1;
  for (; warmup && n <= updates && share > 1e-12 && decay_at(decay, true, n) < decay; ++n)
    share *= decay_at(decay, true, n);
  return n > updates ? share : share * std::pow(decay, static_cast<double>(updates - n + 1));
}

void fields(config::Fields& f, EmaConfig& c) {
  f("decay", c.decays, {0.0, 1.0, false, true}, 1);
  f("warmup", c.warmup);
  f("power_lengths", c.power_lengths, {kMinPowerLength, kMaxPowerLength});
  for (auto it = c.power_lengths.begin(); it != c.power_lengths.end(); ++it) {
    if (std::find(c.power_lengths.begin(), it, *it) != it)
      f.reject("power_lengths", fmt::format("has {} twice; name each length once", *it));
  }
  f("snapshot_every", c.snapshot_every, config::at_least(0));
}

int64_t EmaConfig::snapshot_interval(int64_t steps) const {
  constexpr int64_t kUsualSnapshots = 40;  // math.md has the error
  if (power_lengths.empty()) return 0;
  return snapshot_every > 0 ? snapshot_every : (steps + kUsualSnapshots - 1) / kUsualSnapshots;
}

Ema::Ema(const std::vector<torch::Tensor>& parameters, double decay, bool warmup)
    : Ema(parameters, [decay, warmup](int64_t n) { return 1.0 - nn::decay_at(decay, warmup, n); }) {
}

Ema::Ema(const std::vector<torch::Tensor>& parameters, Weight weight)
    : weight_at_(std::move(weight)) {
  for (const torch::Tensor& p : parameters) averages_.push_back(p.detach().clone());
  if (averages_.empty()) return;
  weight_ = torch::zeros({}, averages_[0].options());
}

void Ema::set_update_(int64_t n) {
  if (weight_.defined()) weight_.fill_(weight_at_(n));
}

void Ema::update_(const std::vector<torch::Tensor>& parameters) {
  const torch::NoGradGuard no_grad;
  kernels::lerp_all_(averages_, parameters, weight_);
}

WeightSwap::WeightSwap(torch::nn::Module& module, const std::vector<torch::Tensor>& weights)
    : parameters_(module.parameters()) {
  TORCH_CHECK(parameters_.size() == weights.size(), "one tensor a parameter");
  for (size_t i = 0; i < weights.size(); ++i) {
    own_.push_back(parameters_[i].detach());
    parameters_[i].set_data(weights[i]);
  }
}

WeightSwap::~WeightSwap() {
  for (size_t i = 0; i < own_.size(); ++i) parameters_[i].set_data(own_[i]);
}

}  // namespace ddpm::nn
