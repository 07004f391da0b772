#include "ddpm/data/epoch_sampler.h"

#include "ddpm/base/rng.h"

#include <limits>

#include <c10/util/Exception.h>

namespace ddpm::data {

EpochSampler::EpochSampler(int64_t n, uint64_t seed)
    : n_(n), key_(rng_key(seed, Purpose::kShuffle)) {
  TORCH_CHECK(n > 0 && n <= std::numeric_limits<uint32_t>::max(), "cannot shuffle ", n, " images");
}

int64_t EpochSampler::index_of(int64_t p) const {
  TORCH_CHECK(p >= 0, "sample ", p, " is negative");
  const int64_t epoch = p / n_;
  const std::lock_guard lock(mutex_);
  Epoch& kept = kept_[epoch % 2];
  if (kept.number != epoch) {
    kept.order = random_permutation(n_, key_, static_cast<uint64_t>(epoch));
    kept.number = epoch;
  }
  return kept.order[p % n_];
}

}  // namespace ddpm::data
