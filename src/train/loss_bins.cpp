#include "ddpm/train/metrics.h"

#include <algorithm>
#include <cmath>

#include <torch/utils.h>

namespace ddpm::train {

LossBins::LossBins(const diffusion::Schedule& schedule, int64_t count, const torch::Device& device)
    : sums_(torch::zeros({2, count}, torch::dtype(torch::kDouble).device(device))) {
  const int64_t T = schedule.timesteps();
  const int64_t last = schedule.snr(T) > 0 ? T : T - 1;
  const auto log_snr = [&](int64_t t) { return t > 0 ? std::log(schedule.snr(t)) : 0.0; };
  const double low = log_snr(last), high = last > 0 ? log_snr(1) : low;
  const double width = (high - low) / static_cast<double>(count);
  for (int64_t i = 0; i < count; ++i)
    middles_.push_back(low + (static_cast<double>(i) + 0.5) * width);
  std::vector<int64_t> bins(static_cast<size_t>(T + 1), 0);
  for (int64_t t = 1; t <= last && width > 0; ++t) {
    const double place = std::floor((log_snr(t) - low) / width);
    bins[static_cast<size_t>(t)] = std::clamp<int64_t>(static_cast<int64_t>(place), 0, count - 1);
  }
  bin_ = torch::tensor(bins, torch::kLong).to(device);
}

void LossBins::add_(const StepLosses& losses) {
  const torch::NoGradGuard no_grad;
  const WeightedLosses sums = finite_losses(losses);
  const torch::Tensor bin = bin_.index_select(0, losses.t);
  sums_[0].index_add_(0, bin, sums.losses);
  sums_[1].index_add_(0, bin, sums.weights);
}

std::vector<LossBin> LossBins::read(const dist::World& world) {
  world.all_reduce_sum_({sums_});
  const torch::Tensor host = sums_.cpu();  // itself, if it is on the CPU
  const double* v = host.const_data_ptr<double>();
  std::vector<LossBin> result;
  for (size_t i = 0; i < middles_.size(); ++i)
    result.push_back({middles_[i], v[i] / v[middles_.size() + i]});
  sums_.zero_();
  return result;
}

}  // namespace ddpm::train
