#include "ddpm/train/timestep_history.h"

#include <tuple>

#include <torch/utils.h>

namespace ddpm::train {

TimestepHistory::TimestepHistory(int64_t timesteps, const torch::Device& device)
    : timesteps_(timesteps) {
  const auto numbers = torch::dtype(torch::kDouble).device(device);
  const auto integers = torch::dtype(torch::kLong).device(device);
  losses_ = torch::zeros({timesteps + 1, kLosses}, numbers);
  counts_ = torch::zeros({timesteps + 1}, integers);
  ready_ = torch::zeros({}, torch::dtype(torch::kBool).device(device));
  ends_ = torch::zeros({timesteps}, integers);
  weights_ = torch::ones({timesteps + 1}, numbers);
  refresh_();
}

torch::Tensor TimestepHistory::draw(const torch::Tensor& part, const torch::Tensor& uniform) const {
  return torch::where(ready_, torch::searchsorted(ends_, part) + 1, uniform);
}

torch::Tensor TimestepHistory::weight(const torch::Tensor& t) const {
  return weights_.index_select(0, t);
}

void TimestepHistory::add_(const torch::Tensor& t, const torch::Tensor& losses) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor finite = torch::isfinite(losses);
  // Sorted by t, in the batch's order for equal t. What is not finite goes to row 0.
  const auto [at, order] = torch::sort(torch::where(finite, t, torch::zeros_like(t)),
                                       /*stable=*/true, /*dim=*/0, /*descending=*/false);
  const torch::Tensor place = torch::arange(at.size(0), at.options());
  const torch::Tensor before = place - torch::searchsorted(at, at);  // of the same t
  const torch::Tensor rest =
      torch::searchsorted(at, at, /*out_int32=*/false, /*right=*/true) - place;
  // Two losses must not have one place in the table: the order of the writes is not defined.
  const torch::Tensor row = torch::where(rest <= kLosses, at, torch::zeros_like(at));
  const torch::Tensor column = (counts_.index_select(0, at) + before).remainder(kLosses);
  losses_.index_put_({row, column}, losses.to(torch::kDouble).index_select(0, order));
  counts_.index_add_(0, at, torch::ones_like(at));
  losses_[0].zero_();
  counts_[0].zero_();
  refresh_();
}

std::vector<torch::Tensor> TimestepHistory::state() const {
  return {losses_.narrow(0, 1, timesteps_), counts_.narrow(0, 1, timesteps_)};
}

void TimestepHistory::refresh_() {
  const torch::NoGradGuard no_grad;
  const auto T = static_cast<double>(timesteps_);
  const torch::Tensor size = state()[0].square().mean(1).sqrt();
  const torch::Tensor sum = size.sum();
  const torch::Tensor share = torch::where(sum > 0, size / sum, torch::full_like(size, 1 / T));
  const torch::Tensor p = (1 - kUniformShare) * share + kUniformShare / T;
  // Summed as integers, whose sum is the same on every device, and rounded to whole parts. Weights
  // are those of the rounded p, so that the estimate is unbiased to the last digit.
  const torch::Tensor sums =
      (p * static_cast<double>(int64_t{1} << 50)).to(torch::kLong).cumsum(0).to(torch::kDouble);
  const auto parts = static_cast<double>(kParts);
  ends_.copy_((sums / sums[timesteps_ - 1] * parts).round());
  ready_.copy_((state()[1] >= kLosses).all());
  const torch::Tensor own = torch::diff(ends_, 1, 0, torch::zeros({1}, ends_.options()));
  const torch::Tensor weight = parts / T / own.to(torch::kDouble);
  weights_.narrow(0, 1, timesteps_).copy_(torch::where(ready_, weight, torch::ones_like(weight)));
}

}  // namespace ddpm::train
