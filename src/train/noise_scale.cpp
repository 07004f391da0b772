#include "ddpm/base/text.h"
#include "ddpm/train/metrics.h"

#include <cmath>
#include <limits>
#include <vector>

#include <fmt/format.h>
#include <torch/utils.h>

namespace ddpm::train {
namespace {

torch::Tensor squared_norm(const std::vector<torch::Tensor>& tensors) {
  return torch::stack(at::_foreach_norm(tensors)).to(torch::kDouble).square().sum();
}

StepSettings with_independent_timesteps(StepSettings settings) {
  if (settings.timesteps == TimestepDrawing::kAntithetic ||
      settings.timesteps == TimestepDrawing::kStratified)
    settings.timesteps = TimestepDrawing::kUniform;
  return settings;
}

}  // namespace

GradientNorms gradient_norms(nn::UNetImpl& unet, const StepSettings& settings,
                             const data::Batch& share, int64_t parts, const dist::World& world) {
  const StepSettings independent = with_independent_timesteps(settings);
  const std::vector<torch::Tensor> parameters = unet.parameters();
  const int64_t size = share.ids.size(0) / parts, count = parts * world.size();
  TORCH_CHECK(size >= 1 && count >= 2, "a noise scale needs two parts of a batch");

  torch::Tensor small;
  std::vector<torch::Tensor> sums;
  for (int64_t part = 0; part < parts; ++part) {
    unet.zero_grad(/*set_to_none=*/true);
    accumulate_gradient(unet, independent, slice(share, part * size, size), 1.0);
    std::vector<torch::Tensor> gradients;
    for (const torch::Tensor& p : parameters) gradients.push_back(p.grad());
    const torch::Tensor own = squared_norm(gradients);
    small = small.defined() ? small + own : own;
    if (sums.empty()) {
      sums = gradients;
    } else {
      const torch::NoGradGuard no_grad;
      at::_foreach_add_(sums, gradients);
    }
  }
  unet.zero_grad(/*set_to_none=*/true);
  world.all_reduce_sum_(sums);
  world.all_reduce_sum_({small});
  const auto n = static_cast<double>(count);
  return {small / n, squared_norm(sums) / (n * n), size, size * count};
}

double NoiseScaleReading::scale() const {
  return gradient > 0 && noise > 0 ? noise / gradient : std::numeric_limits<double>::quiet_NaN();
}

NoiseScale::NoiseScale(const torch::Device& device)
    : averages_(torch::zeros({3}, torch::dtype(torch::kDouble).device(device))) {}

// E |G_B|^2 = |G|^2 + tr(Sigma) / B for each B: two sizes give both (McCandlish 2018, Eq. A.2).
void NoiseScale::add_(const GradientNorms& norms) {
  const torch::NoGradGuard no_grad;
  const auto b = static_cast<double>(norms.small_size), B = static_cast<double>(norms.large_size);
  const torch::Tensor gradient = (B * norms.large - b * norms.small) / (B - b);
  const torch::Tensor noise = (norms.small - norms.large) / (1 / b - 1 / B);
  const torch::Tensor values = torch::stack({gradient, noise, torch::ones_like(noise)});
  const torch::Tensor next = kDecay * averages_ + (1 - kDecay) * values;
  averages_.copy_(torch::where(torch::isfinite(next).all(), next, averages_));
}

std::optional<NoiseScaleReading> NoiseScale::read() const {
  const torch::Tensor host = averages_.cpu();
  const double* a = host.const_data_ptr<double>();
  if (a[2] == 0.0) return std::nullopt;
  return NoiseScaleReading{a[0] / a[2], a[1] / a[2]};
}

// Steps to a loss are proportional to 1 + scale / B (McCandlish 2018, Eq. 2.7).
std::string batch_advice(const NoiseScaleReading& reading, int64_t batch_size) {
  const double scale = reading.scale(), B = static_cast<double>(batch_size);
  if (std::isnan(scale)) {
    return fmt::format(
        "gradient noise scale: not known yet, as a batch of {} hides the gradient in its noise",
        with_commas(batch_size));
  }
  const double steps = (1 + scale / (2 * B)) / (1 + scale / B);
  return fmt::format(
      "gradient noise scale {} images: batches of {} instead of {} would need {:.0f} % fewer "
      "steps and {:.0f} % more images",
      three_digits(scale), with_commas(2 * batch_size), with_commas(batch_size), 100 * (1 - steps),
      100 * (2 * steps - 1));
}

}  // namespace ddpm::train
