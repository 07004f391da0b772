#pragma once

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// A number and its standard error: the spread over other samples.
struct Measured {
  double value = 0.0;
  double error = 0.0;  ///< one standard deviation; NaN if it is unknown
};

/// The maximum number of groups of samples. An error from G groups is itself uncertain by
/// 1 / sqrt(2 (G - 1)): 18 % with 16 groups.
inline constexpr int64_t kErrorGroups = 16;

/// Groups of samples, which a jackknife leaves out one at a time. If every class has the same
/// number of samples (as `ddpm sample` makes them), every group holds the same fraction of every
/// class. The number per class is then fixed, and the difference between classes is not spread.
struct SampleGroups {
  int64_t count = 0;  ///< groups; block b belongs to group b mod count
  bool by_class = false;
  /// Indices of samples: one of each class per block; without classes, one per block. Random order.
  std::vector<std::vector<int64_t>> blocks;

  int64_t samples() const;
  /// The group of each sample: int64 [samples].
  torch::Tensor ids() const;
  /// All samples, block by block: any contiguous part has nearly the same fraction of each class.
  /// `pass`: 0 for the order of `blocks`, else another random order of them.
  std::vector<int64_t> order(uint64_t pass = 0) const;
};

/// `classes`: one per sample, or empty. If the classes have unequal sizes, these count as random,
/// and so are the groups.
SampleGroups make_groups(int64_t samples, const std::vector<int64_t>& classes = {},
                         int64_t most = kErrorGroups);

/// The standard error of `value`, which was computed from sum(sizes) samples: the delete-m_j
/// jackknife (Busing, Meijer and van der Leeden 1999). without[j] is the same number without the
/// sizes[j] samples of group j. A bias of order 1/n, as in Frechet distances, cancels. NaN if there
/// are fewer than two groups.
double jackknife_error(double value, const std::vector<double>& without,
                       const std::vector<int64_t>& sizes);

/// The mean of one number per sample, and its error: values [N], groups int64 [N] of 0..count-1.
Measured grouped_mean(const torch::Tensor& values, const torch::Tensor& groups, int64_t count);

/// The number of samples in each group.
std::vector<int64_t> group_sizes(const torch::Tensor& groups, int64_t count);

/// `count` of `size` images that represent them all, ascending: a random one from each of `count`
/// equal parts. So every class is seen if a set is sorted by class, or has its classes in turn. All
/// of them if count >= size.
std::vector<int64_t> representative_indices(int64_t size, int64_t count);

}  // namespace ddpm::eval
