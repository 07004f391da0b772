#pragma once

#include "ddpm/eval/jackknife.h"

#include <cstdint>
#include <functional>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// Squared radii of balls around rows of generated vectors that reach to the k-th nearest other
/// one, of all and with each group left out: [count + 1, b], the last of all; NaN where too few are
/// left. d: squared distances [b,N], infinite to the row itself; groups: int64 [N].
torch::Tensor limits_without_groups(const torch::Tensor& d, const torch::Tensor& groups,
                                    int64_t count, int64_t k);

/// The share of rows that any generated vector (a column) touches: of all, and with each group of
/// columns left out.
class ShareWithoutGroups {
 public:
  ShareWithoutGroups(const torch::Tensor& groups, int64_t count);
  /// Adds rows. touches(g): bool [b,N], what the columns touch if group g is left out; g = count:
  /// if none is.
  void add(const std::function<torch::Tensor(int64_t)>& touches);
  Measured measured() const;

 private:
  torch::Tensor groups_;
  int64_t count_;
  int64_t rows_ = 0;
  std::vector<int64_t> touched_;  // [count + 1]
};

}  // namespace ddpm::eval
