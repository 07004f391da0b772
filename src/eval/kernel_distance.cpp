#include "kernel_distance.h"

#include "ddpm/base/rng.h"

#include <algorithm>
#include <functional>
#include <limits>

#include <torch/utils.h>

namespace ddpm::eval {
namespace {

torch::Tensor kernel(const torch::Tensor& x, const torch::Tensor& y) {
  return (x.matmul(y.t()) / static_cast<double>(x.size(1)) + 1.0).pow(3);
}

// The mean over all pairs of different vectors.
double mean_within(const torch::Tensor& x) {
  const torch::Tensor k = kernel(x, x);
  const auto n = static_cast<double>(x.size(0));
  return (k.sum() - k.trace()).item<double>() / (n * (n - 1.0));
}

// Consecutive parts of a random order of all rows, then of the next random order.
class Subsets {
 public:
  using OrderOf = std::function<std::vector<int64_t>(uint64_t pass)>;
  Subsets(int64_t rows, int64_t size, OrderOf order_of)
      : per_pass_(rows / size), size_(size), order_of_(std::move(order_of)) {}
  torch::Tensor rows(int64_t subset) {
    if (subset % per_pass_ == 0) order_ = order_of_(static_cast<uint64_t>(subset / per_pass_));
    const auto first = order_.begin() + subset % per_pass_ * size_;
    return torch::tensor(std::vector<int64_t>(first, first + size_), torch::kLong);
  }

 private:
  int64_t per_pass_, size_;
  OrderOf order_of_;
  std::vector<int64_t> order_;
};

// The sums that a subset's distance consists of, per group of its samples.
struct GroupSums {
  torch::Tensor within;  // [G,G]: of k over pairs of different samples
  torch::Tensor cross;   // [G]: of k over samples and the reference
  torch::Tensor sizes;   // [G]: samples
};

GroupSums sums_of(const torch::Tensor& x, const torch::Tensor& y, const torch::Tensor& groups,
                  int64_t count) {
  const torch::Tensor member = torch::one_hot(groups, count).to(torch::kDouble);
  const torch::Tensor within = kernel(y, y).fill_diagonal_(0.0);
  return {member.t().matmul(within.matmul(member)), kernel(x, y).sum(0).matmul(member),
          member.sum(0)};
}

// E k(y, y') - 2 E k(x, y) of the remaining samples; NaN if there are fewer than two.
double estimate(double within, double cross, double samples, double reference) {
  if (samples < 2.0) return std::numeric_limits<double>::quiet_NaN();
  return within / (samples * (samples - 1.0)) - 2.0 * cross / (samples * reference);
}

}  // namespace

double kernel_distance(const torch::Tensor& x, const torch::Tensor& y) {
  TORCH_CHECK(x.size(0) >= 2 && y.size(0) >= 2 && x.size(1) == y.size(1),
              "kernel_distance needs [M,D] and [N,D], M and N at least 2");
  const torch::Tensor a = x.to(torch::kDouble), b = y.to(torch::kDouble);
  return mean_within(a) + mean_within(b) - 2.0 * kernel(a, b).mean().item<double>();
}

Measured kernel_distance(const torch::Tensor& x, const torch::Tensor& y, const SampleGroups& groups,
                         const KernelOptions& options) {
  const int64_t size = std::min({options.subset_size, x.size(0), y.size(0)});
  const torch::Tensor ids = groups.ids();
  const RngKey key = rng_key(options.seed, Purpose::kKernelSubsets);
  Subsets of_x(x.size(0), size,
               [&](uint64_t pass) { return random_permutation(x.size(0), key, pass); });
  Subsets of_y(y.size(0), size, [&](uint64_t pass) { return groups.order(pass); });

  double value = 0.0;
  torch::Tensor without = torch::zeros({groups.count}, torch::kDouble);
  const auto share = 1.0 / static_cast<double>(options.subsets);
  for (int64_t i = 0; i < options.subsets; ++i) {
    const torch::Tensor rows = of_y.rows(i);
    const torch::Tensor a = x.index_select(0, of_x.rows(i)).to(torch::kDouble);
    const torch::Tensor b = y.index_select(0, rows).to(torch::kDouble);
    const GroupSums sums = sums_of(a, b, ids.index_select(0, rows), groups.count);
    const double reference = mean_within(a);
    const auto m = static_cast<double>(size);
    value += share * (reference + estimate(sums.within.sum().item<double>(),
                                           sums.cross.sum().item<double>(), m, m));
    const torch::Tensor within = sums.within.sum() - 2.0 * sums.within.sum(0) + sums.within.diag();
    for (int64_t g = 0; g < groups.count; ++g) {
      without[g] += share * (reference + estimate(within[g].item<double>(),
                                                  (sums.cross.sum() - sums.cross[g]).item<double>(),
                                                  m - sums.sizes[g].item<double>(), m));
    }
  }
  const std::vector<double> left(without.const_data_ptr<double>(),
                                 without.const_data_ptr<double>() + groups.count);
  return {value, jackknife_error(value, left, group_sizes(ids, groups.count))};
}

}  // namespace ddpm::eval
