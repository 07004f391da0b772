#include "ddpm/nn/ema.h"

#include <algorithm>
#include <cmath>

#include <torch/utils.h>

namespace ddpm::nn {
namespace {

double norm_of(const PowerProfile& profile) { return std::sqrt(inner_product(profile, profile)); }

// float64 [N]: the inner products of the target with profiles of norm 1.
torch::Tensor products(const std::vector<PowerProfile>& profiles, const PowerProfile& target) {
  torch::Tensor found = torch::empty({std::ssize(profiles)}, torch::kDouble);
  auto value = found.accessor<double, 1>();
  for (int64_t i = 0; i < found.size(0); ++i) {
    const PowerProfile& profile = profiles[static_cast<size_t>(i)];
    value[i] = inner_product(profile, target) / norm_of(profile);
  }
  return found;
}

// The inverse on the eigenvectors that rounding leaves known: equal profiles share a coefficient.
torch::Tensor pseudo_inverse(const torch::Tensor& gram) {
  constexpr double kRounding = 1e-14;
  const auto [values, vectors] = torch::linalg_eigh(gram);
  const torch::Tensor smallest =
      values.max() * kRounding * static_cast<double>(std::max<int64_t>(gram.size(0), 1));
  const torch::Tensor inverse = torch::where(values > smallest, 1.0 / values, 0.0);
  return torch::matmul(vectors * inverse, vectors.t());
}

}  // namespace

double power_exponent(double length) {
  TORCH_CHECK(length >= kMinPowerLength && length <= kMaxPowerLength, "length ", length);
  // Newton's method from above: the cubic is convex there, so that it falls to the root.
  const double c = 1.0 / (length * length);
  double gamma = std::sqrt(c);
  for (int i = 0; i < 100; ++i) {
    const double value = ((gamma + 7.0) * gamma + 16.0 - c) * gamma + 12.0 - c;
    const double slope = (3.0 * gamma + 14.0) * gamma + 16.0 - c;
    const double next = gamma - value / slope;
    if (!(next < gamma)) break;
    gamma = next;
  }
  return gamma;
}

double power_weight(double exponent, int64_t n) {
  return -std::expm1((exponent + 1.0) * std::log1p(-1.0 / static_cast<double>(n)));
}

double inner_product(const PowerProfile& a, const PowerProfile& b) {
  const PowerProfile& earlier = a.steps <= b.steps ? a : b;
  const PowerProfile& later = a.steps <= b.steps ? b : a;
  return (a.exponent + 1.0) * (b.exponent + 1.0) / (a.exponent + b.exponent + 1.0) *
         std::pow(earlier.steps / later.steps, later.exponent) / later.steps;
}

ProfileSpan::ProfileSpan(std::vector<PowerProfile> profiles) : profiles_(std::move(profiles)) {
  TORCH_CHECK(!profiles_.empty(), "no profiles");
  std::vector<torch::Tensor> rows;
  for (const PowerProfile& profile : profiles_)
    rows.push_back(products(profiles_, profile) / norm_of(profile));
  gram_ = torch::stack(rows);
  inverse_ = pseudo_inverse(gram_);
}

ProfileFit ProfileSpan::fit(const PowerProfile& target) const {
  ProfileFit fit;
  fit.coefficients.resize(profiles_.size(), 0.0);
  const auto same = std::find(profiles_.begin(), profiles_.end(), target);
  if (same != profiles_.end()) {
    fit.coefficients[static_cast<size_t>(same - profiles_.begin())] = 1.0;
    return fit;
  }
  // In units of norm 1: |target - sum|^2 = 1 - 2 b.x + x.G x.
  const double norm = norm_of(target);
  const torch::Tensor b = products(profiles_, target) / norm;
  const torch::Tensor x = torch::mv(inverse_, b);
  const double square =
      1.0 - 2.0 * torch::dot(b, x).item<double>() + torch::dot(x, gram_.mv(x)).item<double>();
  fit.error = std::sqrt(std::max(0.0, square));
  for (size_t i = 0; i < profiles_.size(); ++i)
    fit.coefficients[i] = x[static_cast<int64_t>(i)].item<double>() * norm / norm_of(profiles_[i]);
  return fit;
}

std::vector<LengthRange> lengths_within(const ProfileSpan& span, double steps, double error) {
  constexpr double kRatio = 1.01;
  std::vector<LengthRange> ranges;
  bool inside = false;
  for (double length = kMinPowerLength; length <= kMaxPowerLength; length *= kRatio) {
    const bool good = span.fit({power_exponent(length), steps}).error <= error;
    if (good && !inside) ranges.push_back({length, length});
    if (good) ranges.back().high = length;
    inside = good;
  }
  return ranges;
}

}  // namespace ddpm::nn
