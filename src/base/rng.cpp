#include "ddpm/base/rng.h"

#include <numeric>
#include <utility>

namespace ddpm {
namespace {

// SplitMix64's finalizer (Steele et al. 2014): a bijection of 64-bit words whose every output bit
// depends on every input bit.
uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

}  // namespace

namespace {

// Two purposes of one number would be two equal cases, which do not compile.
[[maybe_unused]] constexpr bool are_distinct(Purpose purpose) {
  switch (purpose) {
    case Purpose::kWeightInit:
    case Purpose::kShuffle:
    case Purpose::kFlip:
    case Purpose::kTimestep:
    case Purpose::kTrainingNoise:
    case Purpose::kDropout:
    case Purpose::kInitialNoise:
    case Purpose::kSamplerNoise:
    case Purpose::kProcedural:
    case Purpose::kCrop:
    case Purpose::kHoldout:
    case Purpose::kFurtherSamplerNoise:
    case Purpose::kLabelDropout:
    case Purpose::kOffsetNoise:
    case Purpose::kAugmentation:
    case Purpose::kAugmentationNormal:
    case Purpose::kSelfCondition:
    case Purpose::kLossUncertainty:
    case Purpose::kLikelihoodTimestep:
    case Purpose::kLikelihoodNoise:
    case Purpose::kErrorGroups:
    case Purpose::kKernelSubsets:
    case Purpose::kSelection:
    case Purpose::kDequantisation:
    case Purpose::kTraceProbe:
    case Purpose::kEstimateNoise:
    case Purpose::kFitNoise:
      return true;
  }
  return false;
}

}  // namespace

RngKey rng_key(uint64_t seed, Purpose purpose) {
  const uint64_t k = mix(mix(seed) ^ static_cast<uint64_t>(purpose));
  return RngKey{{static_cast<uint32_t>(k), static_cast<uint32_t>(k >> 32)}};
}

uint64_t derived_seed(uint64_t seed, Purpose purpose, uint64_t a, uint64_t b) {
  return mix(mix(mix(mix(seed) ^ static_cast<uint64_t>(purpose)) ^ a) ^ b);
}

std::vector<int64_t> random_permutation(int64_t n, RngKey key, uint64_t id) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), int64_t{0});
  RngStream stream(key, id);
  for (int64_t i = n - 1; i > 0; --i) {
    std::swap(order[i], order[stream.below(static_cast<uint32_t>(i + 1))]);
  }
  return order;
}

uint32_t RngStream::word() {
  if (next_ % 4 == 0) block_ = philox(key_, id_, step_, next_ / 4);
  return block_.w[next_++ % 4];
}

double RngStream::uniform() { return (static_cast<double>(word()) + 0.5) / 4294967296.0; }

double RngStream::uniform(double low, double high) { return low + (high - low) * uniform(); }

uint32_t RngStream::below(uint32_t n) { return uniform_below(word(), n); }

double RngStream::normal() {
  const double radius = std::sqrt(-2.0 * std::log(uniform()));
  return radius * std::cos(6.283185307179586 * uniform());
}

}  // namespace ddpm
