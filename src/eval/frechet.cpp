#include "ddpm/eval/frechet.h"

#include "ddpm/base/rng.h"

#include <cmath>
#include <limits>

#include <torch/utils.h>

namespace ddpm::eval {
namespace {

// A with S = A A^T, without the directions whose variance is lost in rounding: [D, rank].
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

// The same trace from the eigenvalues of A^T S_b A: a third of the work; good enough for a spread.
double FrechetDistance::cross_trace(const torch::Tensor& covariance) const {
  if (factor_.numel() == 0) return 0.0;
  const torch::Tensor product = factor_.t().matmul(covariance).matmul(factor_);
  return torch::linalg_eigvalsh(product).clamp_min(0.0).sqrt().sum().item<double>();
}

Measured FrechetDistance::to(const std::vector<Moments>& groups, int64_t replicates,
                             uint64_t seed) const {
  const auto k = static_cast<uint32_t>(groups.size());
  TORCH_CHECK(k >= 2 && replicates >= 2, "a bootstrap needs two groups and two replicates");
  Measured result;
  result.value = to(merged(groups).gaussian());
  double sum = 0.0, squares = 0.0;
  for (int64_t r = 0; r < replicates; ++r) {
    RngStream random(rng_key(seed, Purpose::kShuffle), static_cast<uint64_t>(r));
    Moments sample;
    for (uint32_t i = 0; i < k; ++i) sample.merge(groups[random.below(k)]);
    const Gaussian g = sample.gaussian();
    const double distance = (from_.mean - g.mean).square().sum().item<double>() +
                            from_.covariance.trace().item<double>() +
                            g.covariance.trace().item<double>() - 2.0 * cross_trace(g.covariance);
    sum += distance - result.value;
    squares += (distance - result.value) * (distance - result.value);
  }
  const auto n = static_cast<double>(replicates);
  const double variance = (squares - sum * sum / n) / (n - 1.0);
  result.error = std::sqrt(std::max(variance, 0.0) * k / (k - 1.0));
  return result;
}

}  // namespace ddpm::eval
