#include "ddpm/train/loss_uncertainty.h"

#include "ddpm/base/rng.h"

#include <numbers>

#include <torch/utils.h>

namespace ddpm::train {
namespace {

// log(SNR) of a pure noise x_T is minus infinity.
constexpr double kLeastSnr = 1e-12;

}  // namespace

LossUncertainty::LossUncertainty(const diffusion::Schedule& schedule, uint64_t seed,
                                 torch::Dtype dtype, const torch::Device& device)
    : schedule_(schedule) {
  RngStream random(rng_key(seed, Purpose::kLossUncertainty), 0);
  std::vector<double> frequencies, phases;
  for (int64_t i = 0; i < kFeatures; ++i) {
    frequencies.push_back(random.normal());
    phases.push_back(random.uniform());
  }
  frequencies_ = torch::tensor(frequencies, torch::kDouble).to(device);
  phases_ = torch::tensor(phases, torch::kDouble).to(device);
  const auto options = torch::dtype(dtype).device(device).requires_grad(true);
  parameters_ = {torch::zeros({kFeatures}, options), torch::zeros({1}, options)};
}

torch::Tensor LossUncertainty::at(const torch::Tensor& t) const {
  const torch::Tensor like = torch::empty({1}, torch::dtype(torch::kDouble).device(t.device()));
  const torch::Tensor snr = schedule_.gather(diffusion::Table::kSnr, t, like);
  const torch::Tensor noise = snr.clamp_min(kLeastSnr).log() / -8.0;  // c_noise, [B]
  const torch::Tensor angle =
      (noise.unsqueeze(1) * frequencies_ + phases_) * (2 * std::numbers::pi);
  const torch::Tensor features = angle.cos() * std::numbers::sqrt2;  // variance 1
  return (features.to(parameters_[0].scalar_type()) * parameters_[0]).sum(1) + parameters_[1];
}

torch::Tensor LossUncertainty::balanced(const torch::Tensor& loss, const torch::Tensor& u) {
  return loss * torch::exp(-u) + u;
}

void LossUncertainty::zero_grad() {
  for (torch::Tensor& p : parameters_) p.mutable_grad().reset();
}

}  // namespace ddpm::train
