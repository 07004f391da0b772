#include "ddpm/eval/frechet.h"

#include <limits>

#include <torch/utils.h>

namespace ddpm::eval {
namespace {

// A with S = A A^T, without directions whose variance is below rounding: [D, rank].
torch::Tensor factor_of(const torch::Tensor& covariance) {
  const auto [values, vectors] = torch::linalg_eigh(covariance, "L");
  const double largest = values[-1].item<double>();
  const double rounding = static_cast<double>(covariance.size(0)) *
                          std::numeric_limits<double>::epsilon() * std::max(largest, 0.0);
  const torch::Tensor kept = torch::nonzero(values > rounding).flatten();
  return vectors.index_select(1, kept) * values.index_select(0, kept).sqrt();
}

}  // namespace

FrechetDistance::FrechetDistance(Gaussian from)
    : from_(std::move(from)), factor_(factor_of(from_.covariance)) {}

double FrechetDistance::to(const Gaussian& other) const {
  TORCH_CHECK(other.mean.sizes() == from_.mean.sizes(),
              "features of different networks: ", other.mean.size(0), " and ", from_.mean.size(0),
              " dimensions");
  const torch::Tensor product = factor_.t().matmul(factor_of(other.covariance));
  const double cross =
      product.numel() == 0 ? 0.0 : torch::linalg_svdvals(product).sum().item<double>();
  return (from_.mean - other.mean).square().sum().item<double>() +
         from_.covariance.trace().item<double>() + other.covariance.trace().item<double>() -
         2.0 * cross;
}

// The same with the trace from the eigenvalues of A^T S_b A: a third of the work, and precise
// enough for an error bar.
double FrechetDistance::roughly_to(const Gaussian& other) const {
  double cross = 0.0;
  if (factor_.numel() > 0) {
    const torch::Tensor product = factor_.t().matmul(other.covariance).matmul(factor_);
    cross = torch::linalg_eigvalsh(product).clamp_min(0.0).sqrt().sum().item<double>();
  }
  return (from_.mean - other.mean).square().sum().item<double>() +
         from_.covariance.trace().item<double>() + other.covariance.trace().item<double>() -
         2.0 * cross;
}

Measured FrechetDistance::to(const std::vector<Moments>& groups) const {
  const Moments all = merged(groups);
  Measured result{to(all.gaussian()), std::numeric_limits<double>::quiet_NaN()};
  std::vector<double> without;
  std::vector<int64_t> sizes;
  for (const Moments& left_out : groups) {
    if (left_out.count() == 0) continue;
    Moments rest;
    for (const Moments& group : groups)
      if (&group != &left_out) rest.merge(group);
    if (rest.count() < 2) return result;
    without.push_back(roughly_to(rest.gaussian()));
    sizes.push_back(left_out.count());
  }
  result.error = jackknife_error(result.value, without, sizes);
  return result;
}

}  // namespace ddpm::eval
