#pragma once

#include "ddpm/base/philox.h"

#include <cstdint>
#include <vector>

namespace ddpm {

/// Use of a random number. Each purpose has its own stream, so that no two uses share numbers. The
/// values are part of the format: changing one breaks resuming and reproducing from a seed.
enum class Purpose : uint32_t {
  kWeightInit = 1,     ///< id = parameter's position
  kShuffle = 2,        ///< id = epoch
  kFlip = 3,           ///< id = global sample index
  kTimestep = 4,       ///< id = global sample index
  kTrainingNoise = 5,  ///< id = global sample index
  kDropout = 6,        ///< seeds torch's generator, per step and rank
  kInitialNoise = 7,   ///< x_T; id = image index
  kSamplerNoise = 8,   ///< z; id = image index, step = position in the plan
  kProcedural = 9,     ///< id = image index
  kCrop = 10,          ///< id = global sample index
  kHoldout = 11,       ///< selects held-out images; seed of their t and noise
  /// z of the second and later draws of a step; id = image index, step = position + (draw - 1) 2^20
  kFurtherSamplerNoise = 12,
  kLabelDropout = 13,        ///< id = global sample index
  kOffsetNoise = 14,         ///< id = global sample index
  kAugmentation = 15,        ///< id = 16 * global sample index + number
  kAugmentationNormal = 16,  ///< id = global sample index
  kSelfCondition = 18,       ///< id = global sample index
  kLossUncertainty = 17,     ///< frequencies and phases of u(t); id = 0
  // `ddpm eval`: shares no number with a training run of the same seed.
  kLikelihoodTimestep = 20,  ///< id = image index * parts + part
  kLikelihoodNoise = 21,     ///< id = image index, step = part
  kErrorGroups = 22,         ///< order in which samples without classes are assigned to groups
  kKernelSubsets = 23,       ///< id = 2 * pass (+ 1: of the reference)
  kSelection = 24,           ///< selects images that represent a larger set
  kDequantisation = 25,      ///< id = image index
  kTraceProbe = 26,          ///< id = image index, step = timestep * probes + probe
  kEstimateNoise = 27,       ///< id = image index, step = number of the timestep
  kFitNoise = 28,            ///< x_T to which a sampling method is fitted; id = image index
};

/// Key of the stream for (seed, purpose): a 64-bit mix, so that neighbouring seeds are unrelated.
RngKey rng_key(uint64_t seed, Purpose purpose);

/// One 64-bit number from (seed, purpose, a, b), to seed other libraries' generators.
uint64_t derived_seed(uint64_t seed, Purpose purpose, uint64_t a, uint64_t b = 0);

/// A uniformly random permutation of 0..n-1, a function of (key, id) alone (Fisher and Yates).
std::vector<int64_t> random_permutation(int64_t n, RngKey key, uint64_t id);

/// Sequential random numbers from row `id` of a stream, for code that needs a few. Host only.
class RngStream {
 public:
  RngStream(RngKey key, uint64_t id, uint32_t step = 0) : key_(key), id_(id), step_(step) {}
  uint32_t word();
  /// Uniform in (0, 1).
  double uniform();
  /// Uniform in [low, high).
  double uniform(double low, double high);
  /// Uniform integer in [0, n), 0 < n < 2^32.
  uint32_t below(uint32_t n);
  /// N(0, 1).
  double normal();

 private:
  RngKey key_;
  uint64_t id_;
  uint32_t step_;
  uint32_t next_ = 0;
  Words block_{};
};

}  // namespace ddpm
