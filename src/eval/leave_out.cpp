#include "leave_out.h"

#include "unknown.h"

#include <algorithm>
#include <limits>

#include <torch/utils.h>

namespace ddpm::eval {
namespace {

// The k-th smallest value among the kept columns, bool [N]: [b].
torch::Tensor kth_kept(const torch::Tensor& d, const torch::Tensor& kept, int64_t k) {
  const torch::Tensor left = d.index_select(1, kept.nonzero().squeeze(1));
  // One column is the row itself, unless its own group is left out; its ball is then not used.
  if (left.size(1) < k + 1) return torch::full({d.size(0)}, kUnknown, d.options());
  return std::get<0>(left.kthvalue(k, 1));
}

}  // namespace

torch::Tensor limits_without_groups(const torch::Tensor& d, const torch::Tensor& groups,
                                    int64_t count, int64_t k) {
  // A few more than k neighbours, sorted: the k-th without a group is nearly always among them.
  const int64_t listed = std::min<int64_t>(d.size(1), 8 * k + 8);
  const auto [values, columns] = d.topk(listed, 1, /*largest=*/false, /*sorted=*/true);
  const torch::Tensor of = groups.index_select(0, columns.flatten()).view_as(columns);
  std::vector<torch::Tensor> limits;
  for (int64_t g = 0; g <= count; ++g) {
    const torch::Tensor reached = (of != g).cumsum(1) >= k;
    torch::Tensor limit =
        values.gather(1, reached.to(torch::kByte).argmax(1, /*keepdim=*/true)).squeeze(1);
    const torch::Tensor missing = reached.select(1, listed - 1).logical_not().nonzero().squeeze(1);
    if (missing.numel() > 0)
      limit.index_copy_(0, missing, kth_kept(d.index_select(0, missing), groups != g, k));
    limits.push_back(limit);
  }
  return torch::stack(limits);
}

ShareWithoutGroups::ShareWithoutGroups(const torch::Tensor& groups, int64_t count)
    : groups_(groups), count_(count), touched_(count + 1, 0) {}

void ShareWithoutGroups::add(const std::function<torch::Tensor(int64_t)>& touches) {
  for (int64_t g = 0; g <= count_; ++g) {
    const torch::Tensor touched = touches(g).logical_and(groups_ != g).any(1);
    if (g == 0) rows_ += touched.size(0);
    touched_[g] += touched.sum().item<int64_t>();
  }
}

Measured ShareWithoutGroups::measured() const {
  const auto share = [&](int64_t g) {
    return static_cast<double>(touched_[g]) / static_cast<double>(rows_);
  };
  const std::vector<int64_t> all = group_sizes(groups_, count_);
  std::vector<double> without;
  std::vector<int64_t> sizes;
  for (int64_t g = 0; g < count_; ++g) {
    if (all[g] == 0) continue;
    without.push_back(share(g));
    sizes.push_back(all[g]);
  }
  return {share(count_), jackknife_error(share(count_), without, sizes)};
}

}  // namespace ddpm::eval
