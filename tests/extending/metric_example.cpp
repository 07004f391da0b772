// The example of docs/extending.md, "A metric": MMD with a Gaussian kernel.

#include "ddpm/eval/jackknife.h"
#include "ddpm/eval/metrics.h"

#include <array>
#include <cmath>
#include <optional>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>
#include <torch/utils.h>

namespace ddpm::extending {
namespace {

/// The unbiased estimate of MMD^2 with k(x, y) = exp(-|x - y|^2 / (2 sigma^2)), the kernel of CMMD
/// (Jayasumana 2024). x: reference [M,D], y: samples [N,D], at least two each; float64.
double gaussian_mmd(const torch::Tensor& x, const torch::Tensor& y, double sigma) {
  const auto kernel = [&](const torch::Tensor& a, const torch::Tensor& b) {
    return torch::cdist(a, b).square().div(-2 * sigma * sigma).exp();
  };
  const auto mean_within = [&](const torch::Tensor& a) {  // over pairs of different vectors
    const torch::Tensor k = kernel(a, a);
    const auto n = static_cast<double>(a.size(0));
    return (k.sum() - k.trace()).item<double>() / (n * (n - 1));
  };
  return mean_within(x) + mean_within(y) - 2 * kernel(x, y).mean().item<double>();
}

/// The same with its standard error: the jackknife over the groups of samples. float32 or float64.
eval::Measured gaussian_mmd(const torch::Tensor& x, const torch::Tensor& y,
                            const eval::SampleGroups& groups, double sigma) {
  const torch::Tensor reference = x.to(torch::kDouble), samples = y.to(torch::kDouble);
  const torch::Tensor ids = groups.ids();
  std::vector<double> without;
  for (int64_t g = 0; g < groups.count; ++g)
    without.push_back(gaussian_mmd(reference, samples.index({ids != g}), sigma));
  const double value = gaussian_mmd(reference, samples, sigma);
  return {value, eval::jackknife_error(value, without, eval::group_sizes(ids, groups.count))};
}

/// The metric's row. Empty if only the mean and covariance of the reference are known.
std::optional<eval::Measured> gaussian_mmd_of(const eval::MetricInputs& in) {
  if (!in.has_vectors()) return std::nullopt;
  return gaussian_mmd(in.reference.features, in.generated.features, in.generated.sampling, 10.0);
}

constexpr eval::MetricEntry kGaussianMmd{"gaussian_mmd", "Gaussian MMD", &gaussian_mmd_of};

TEST(MetricExample, OfTwoPointsIsItsClosedForm) {
  // All of x in one point and all of y in another, at distance 5.
  const torch::Tensor x = torch::zeros({4, 2}, torch::kDouble);
  const torch::Tensor y = torch::tensor({3.0, 4.0}, torch::kDouble).expand({32, 2}).contiguous();
  const eval::Measured found = gaussian_mmd(x, y, eval::make_groups(32), 10.0);
  EXPECT_NEAR(found.value, 2 - 2 * std::exp(-25.0 / 200.0), 1e-14);
  EXPECT_NEAR(found.error, 0.0, 1e-14);  // without a group, nothing changes
}

TEST(MetricExample, ItsRowIsReported) {
  // Two points at distance 5, as above.
  eval::FeatureSet samples;
  samples.count = 32;
  samples.sampling = eval::make_groups(32);
  samples.features = torch::tensor({3.0F, 4.0F}).expand({32, 2}).contiguous();
  samples.groups.assign(1, eval::Moments(2));
  samples.groups[0].add(samples.features);
  eval::Reference reference;
  reference.features = torch::zeros({4, 2});
  reference.gaussian = {4, torch::zeros({2}, torch::kDouble), torch::zeros({2, 2}, torch::kDouble)};

  const std::array rows{kGaussianMmd};
  const auto json = eval::to_json(eval::measure(samples, reference, {}, rows));
  EXPECT_NEAR(json.at("gaussian_mmd").get<double>(), 2 - 2 * std::exp(-25.0 / 200.0), 1e-14);
  EXPECT_TRUE(json.contains("gaussian_mmd_error"));
  reference.features = torch::Tensor();  // statistics alone
  EXPECT_TRUE(
      eval::to_json(eval::measure(samples, reference, {}, rows)).at("gaussian_mmd").is_null());
}

TEST(MetricExample, ErrorIsTheSpreadOverOtherSamples) {
  torch::manual_seed(1);
  const torch::Tensor x = torch::randn({200, 4}, torch::kDouble);
  std::vector<double> values, errors;
  for (int i = 0; i < 40; ++i) {
    const torch::Tensor y = torch::randn({200, 4}, torch::kDouble) + 1;
    const eval::Measured found = gaussian_mmd(x, y, eval::make_groups(200), 2.0);
    values.push_back(found.value);
    errors.push_back(found.error);
  }
  const double spread = torch::tensor(values, torch::kDouble).std().item<double>();
  const double error = torch::tensor(errors, torch::kDouble).mean().item<double>();
  // A spread over 40 sets is itself uncertain by 1 / sqrt(2 * 39) = 11 %: three times that.
  EXPECT_NEAR(error / spread, 1.0, 0.35);
}

}  // namespace
}  // namespace ddpm::extending
