#include "ddpm/eval/appearance.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::eval {
namespace {

constexpr double kTint = 1.0 / 7, kErrors = 4, kContrast = 1.2;

std::vector<double> numbers(const torch::Tensor& x) {
  const torch::Tensor row = x.to(torch::kDouble).contiguous();
  return {row.data_ptr<double>(), row.data_ptr<double>() + row.numel()};
}

std::string levels(const std::vector<double>& values) {
  std::vector<int64_t> rounded;
  for (const double value : values) rounded.push_back(std::lround(value));
  return fmt::format("{}", fmt::join(rounded, ", "));
}

double mean_square(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return sum / static_cast<double>(values.size());
}

}  // namespace

void AppearanceSum::add(const torch::Tensor& images) {
  const torch::Tensor pixels = images.to(torch::kDouble).flatten(2);
  const torch::Tensor means = pixels.mean(2), squares = pixels.square().mean(2).sum(0);
  image_means_ = image_means_.defined() ? torch::cat({image_means_, means}) : means;
  squares_ = squares_.defined() ? squares_ + squares : squares;
}

Appearance AppearanceSum::result() const {
  const int64_t count = image_means_.size(0);
  const torch::Tensor mean = image_means_.mean(0);
  const auto images = static_cast<double>(count);
  return {count, numbers(mean), numbers(image_means_.std(0) / std::sqrt(images)),
          numbers((squares_ / images - mean.square()).clamp_min(0).sqrt())};
}

std::string describe_tint(const Appearance& samples, const Appearance& data) {
  bool tinted = false;
  for (size_t c = 0; c < data.mean.size(); ++c) {
    const double error = std::hypot(samples.mean_error[c], data.mean_error[c]);
    const double away = std::abs(samples.mean[c] - data.mean[c]);
    tinted = tinted || (away > kTint * data.deviation[c] && away > kErrors * error);
  }
  const double contrast =
      std::sqrt(mean_square(samples.deviation) / std::max(mean_square(data.deviation), 1e-12));
  std::string text;
  if (tinted)
    text = fmt::format("tinted: mean level {} beside the data's {}", levels(samples.mean),
                       levels(data.mean));
  if (contrast < 1 / kContrast || contrast > kContrast)
    text += fmt::format("{}{} contrast: deviation {} beside the data's {}",
                        text.empty() ? "" : ", ", contrast < 1 ? "low" : "high",
                        levels(samples.deviation), levels(data.deviation));
  return text;
}

}  // namespace ddpm::eval
