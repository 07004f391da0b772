#include "ddpm/eval/kernel_distance.h"

#include "ddpm/base/rng.h"

#include <algorithm>
#include <cmath>

#include <torch/utils.h>

namespace ddpm::eval {
namespace {

torch::Tensor kernel(const torch::Tensor& x, const torch::Tensor& y) {
  return (x.matmul(y.t()) / static_cast<double>(x.size(1)) + 1.0).pow(3);
}

// Over all pairs of different vectors.
double mean_within(const torch::Tensor& x) {
  const torch::Tensor k = kernel(x, x);
  const auto n = static_cast<double>(x.size(0));
  return (k.sum() - k.trace()).item<double>() / (n * (n - 1.0));
}

torch::Tensor some_rows(const torch::Tensor& x, int64_t count, RngKey key, uint64_t id) {
  std::vector<int64_t> order = random_permutation(x.size(0), key, id);
  order.resize(count);
  return x.index_select(0, torch::tensor(order, torch::kLong).to(x.device()));
}

}  // namespace

double kernel_distance(const torch::Tensor& x, const torch::Tensor& y) {
  TORCH_CHECK(x.size(0) >= 2 && y.size(0) >= 2 && x.size(1) == y.size(1),
              "kernel_distance needs [M,D] and [N,D], M and N at least 2");
  const torch::Tensor a = x.to(torch::kDouble), b = y.to(torch::kDouble);
  return mean_within(a) + mean_within(b) - 2.0 * kernel(a, b).mean().item<double>();
}

Measured kernel_distance(const torch::Tensor& x, const torch::Tensor& y,
                         const KernelOptions& options) {
  const int64_t size = std::min({options.subset_size, x.size(0), y.size(0)});
  const RngKey key = rng_key(options.seed, Purpose::kShuffle);
  std::vector<double> values;
  for (int64_t i = 0; i < options.subsets; ++i) {
    const auto id = static_cast<uint64_t>(2 * i);
    values.push_back(kernel_distance(some_rows(x, size, key, id), some_rows(y, size, key, id + 1)));
  }
  const torch::Tensor all = torch::tensor(values, torch::kDouble);
  return {all.mean().item<double>(), all.std(/*unbiased=*/false).item<double>()};
}

}  // namespace ddpm::eval
