#pragma once

#include "ddpm/base/philox.h"

#include <array>
#include <cstdint>
#include <mutex>
#include <vector>

namespace ddpm::data {

/// The endless order of training samples: sample p = 0, 1, ... is image permutation(seed, p / n)[p
/// mod n]. Every image occurs once per epoch, and the order is a function of (seed, p) alone.
class EpochSampler {
 public:
  /// 0 < n < 2^32 images.
  EpochSampler(int64_t n, uint64_t seed);

  int64_t size() const { return n_; }
  /// The image of sample p >= 0. Thread-safe; fast for samples of two neighbouring epochs, whose
  /// permutations are kept.
  int64_t index_of(int64_t p) const;

 private:
  struct Epoch {
    int64_t number = -1;
    std::vector<int64_t> order;
  };
  int64_t n_;
  RngKey key_;
  mutable std::mutex mutex_;
  mutable std::array<Epoch, 2> kept_;  ///< epoch e at index e mod 2
};

}  // namespace ddpm::data
