#pragma once

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// A number and how far it would move with other samples.
struct Measured {
  double value = 0.0;
  double error = 0.0;  ///< one standard deviation; NaN if it cannot be told
};

/// Most groups that samples are dealt to. An error from G groups is itself uncertain by
/// 1 / sqrt(2 (G - 1)): 18 % of 16.
inline constexpr int64_t kErrorGroups = 16;

/// Samples dealt to groups that a jackknife leaves out one at a time. If every class has the same
/// number of samples (as `ddpm sample` makes them), every group has every class in the same share:
/// the number of each class is then fixed, and the difference between classes is no spread.
struct SampleGroups {
  int64_t count = 0;  ///< groups; block b belongs to group b mod count
  bool by_class = false;
  /// Samples: one of each class in each block, or, without classes, one in each, in random order.
  std::vector<std::vector<int64_t>> blocks;

  int64_t samples() const;
  /// The group of each sample: int64 [samples].
  torch::Tensor ids() const;
  /// All samples, block by block: any stretch has the classes in nearly the same share. `pass`: 0
  /// for the order of `blocks`, else another random order of them.
  std::vector<int64_t> order(uint64_t pass = 0) const;
};

/// `classes`: of each sample, or empty if there are none. Classes of unequal size are taken for
/// chance, and the groups are then random.
SampleGroups make_groups(int64_t samples, const std::vector<int64_t>& classes = {},
                         int64_t most = kErrorGroups);

/// The standard error of `value`, which was computed from sum(sizes) samples: without[j] is the
/// same number without the sizes[j] samples of group j (the delete-m_j jackknife, Busing, Meijer
/// and van der Leeden 1999). A bias of order 1/n, as Frechet distances have it, cancels and does
/// not count as spread. NaN if there are fewer than two groups.
double jackknife_error(double value, const std::vector<double>& without,
                       const std::vector<int64_t>& sizes);

/// The mean of one number per sample, and its error: values [N], groups int64 [N] of 0..count-1.
Measured grouped_mean(const torch::Tensor& values, const torch::Tensor& groups, int64_t count);

/// How many samples each group has.
std::vector<int64_t> group_sizes(const torch::Tensor& groups, int64_t count);

/// `count` of `size` images that represent them all, ascending: one at a random place in each of
/// `count` equal stretches, so neither a set sorted by class nor one with its classes in turn is
/// seen in part only. All of them if count >= size.
std::vector<int64_t> representative_indices(int64_t size, int64_t count);

}  // namespace ddpm::eval
