#pragma once

#include "ddpm/data/dataset.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace ddpm::data {

/// Number of occurrences of each value 0..255 in a channel; the statistics are exact. Pixels of more
/// than 8 bits are rounded.
struct ValueCounts {
  std::array<int64_t, 256> counts{};

  int64_t total() const;
  double mean() const;
  /// Of the values themselves (divided by n, not n - 1).
  double deviation() const;
  int lowest() const;
  int highest() const;
};

struct Statistics {
  int64_t images = 0;  ///< images that were read
  std::vector<ValueCounts> channels;
  std::vector<int64_t> class_counts;  ///< one per class
  int64_t unlabelled = 0;
  std::vector<std::string> bad;  ///< images that could not be read, "file: reason", in order
  double seconds = 0;

  ValueCounts all_channels() const;
};

/// The indices of min(count, size) images, spread evenly over 0 .. size-1, ascending.
std::vector<int64_t> spread_indices(int64_t size, int64_t count);

/// Reads the images of these indices with `workers` threads; shows a progress line.
Statistics measure(const Dataset& dataset, const std::vector<int64_t>& indices, int64_t workers);

/// Counts of `bins` intervals of equal width; `bins` divides 256.
std::vector<int64_t> histogram(const ValueCounts& values, int64_t bins);

}  // namespace ddpm::data
