#pragma once

#include "ddpm/eval/jackknife.h"

#include <cstdint>
#include <functional>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// Squared radii of balls around generated vectors that reach to the k-th nearest other one. Row g
/// of [count + 1, b] is without group g, the last row with all groups; NaN if too few vectors
/// remain. d: squared distances [b,N], infinite to the vector itself; groups: int64 [N].
torch::Tensor limits_without_groups(const torch::Tensor& d, const torch::Tensor& groups,
                                    int64_t count, int64_t k);

/// The fraction of rows that any generated vector (a column) touches: with all columns, and with
/// each group of columns left out.
class ShareWithoutGroups {
 public:
  ShareWithoutGroups(const torch::Tensor& groups, int64_t count);
  /// Adds rows. touches(g): bool [b,N], which columns touch which rows without group g; g = count:
  /// with all groups.
  void add(const std::function<torch::Tensor(int64_t)>& touches);
  Measured measured() const;

 private:
  torch::Tensor groups_;
  int64_t count_;
  int64_t rows_ = 0;
  std::vector<int64_t> touched_;  // [count + 1]
};

}  // namespace ddpm::eval
