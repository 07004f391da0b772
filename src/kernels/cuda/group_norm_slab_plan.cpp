#include "group_norm_slab_plan.h"

#include <algorithm>
#include <numeric>

namespace ddpm::kernels {
namespace {

// Bytes: the least that is read from memory.
constexpr int64_t kSector = 32;
// Bytes of shared memory that every block costs besides its own.
constexpr int64_t kReserved = 1024;
constexpr int64_t kWarp = 32;
// Blocks of a grid.
constexpr int64_t kMaxBlocks = (int64_t{1} << 31) - 1;

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

int64_t resident_blocks(const Slab& slab, const SlabDevice& device) {
  return device.shared_per_processor / (slab.shared + kReserved);
}

// Three blocks of 256 threads keep a processor busy. If fewer fit, each gets more threads.
Slab widest_block(const GroupNormShape& s, const SlabElement& element, int32_t images,
                  int64_t groups, const SlabDevice& device) {
  const int32_t max = slab_max_threads(element.vector);
  const auto of = [&](int32_t threads) {
    return make_slab(s, element, images, groups, threads, device.shared_per_block);
  };
  const Slab few = of(std::min(256, max)), many = of(max);
  if (few.groups == 0 || many.groups == 0) return few.groups == 0 ? many : few;
  const int64_t blocks = resident_blocks(few, device);
  return blocks < 3 && resident_blocks(many, device) == blocks ? many : few;
}

// Bytes of one pixel's part of a slab. A slab of the full image cuts no sectors.
bool is_full_image(const GroupNormShape& s, const Slab& slab) { return slab.groups == s.groups; }
int64_t width(const SlabElement& element, const Slab& slab) {
  return int64_t{slab.channels} * element.size;
}

// Sectors that two slabs share are read twice, the second time from the L2 cache: half the cost.
double sector_efficiency(const GroupNormShape& s, const SlabElement& element, const Slab& slab) {
  if (is_full_image(s, slab)) return 1.0;
  const int64_t bytes = width(element, slab), cut = kSector - std::gcd(bytes, kSector);
  return static_cast<double>(bytes) / (static_cast<double>(bytes) + 0.5 * static_cast<double>(cut));
}

// The fraction of the memory's bandwidth that is expected: a block alone on its processor does not
// load while it computes. The factors are estimates, to be replaced by measurements.
double expected_bandwidth(const GroupNormShape& s, const SlabElement& element, const Slab& slab,
                          const SlabDevice& device) {
  const int64_t blocks = resident_blocks(slab, device);
  const double overlap = blocks >= 3 ? 1.0 : blocks == 2 ? 0.9 : 0.65;
  const bool narrow = !is_full_image(s, slab) && width(element, slab) < 2 * kSector;
  return overlap * (narrow ? 0.95 : 1.0) * sector_efficiency(s, element, slab);
}

// The fraction of the device that has work, times whether a block has enough to be worth starting.
double expected_occupancy(const GroupNormShape& s, const SlabElement& element, const Slab& slab,
                          const SlabDevice& device) {
  constexpr double kEnoughBytes = 4096;
  const auto bytes = static_cast<double>(s.pixels * slab.channels * element.size);
  const auto blocks = static_cast<double>(s.batch * (s.groups / slab.groups));
  return std::min(1.0, bytes / kEnoughBytes) *
         std::min(1.0, blocks / static_cast<double>(device.processors));
}

}  // namespace

Slab make_slab(const GroupNormShape& s, const SlabElement& element, int32_t images, int64_t groups,
               int32_t max_threads, int64_t shared_per_block) {
  const int64_t channels = groups * s.group_size(), lanes = channels / element.vector;
  const bool fits = channels % element.vector == 0 && lanes <= max_threads &&
                    images * s.pixels <= shared_per_block / (channels * element.size) &&
                    s.batch <= kMaxBlocks / (s.groups / groups);
  if (!fits) return {};
  const int64_t threads = std::min<int64_t>(max_threads, round_up(s.pixels * lanes, kWarp));
  Slab slab{static_cast<int32_t>(groups),  static_cast<int32_t>(channels),
            static_cast<int32_t>(lanes),   static_cast<int32_t>(threads / lanes),
            static_cast<int32_t>(threads), 0};
  const SlabOffsets offsets(slab, static_cast<int32_t>(s.pixels), images, element.size,
                            element.sum_size);
  slab.shared = offsets.end;
  return slab.shared <= shared_per_block ? slab : Slab{};
}

Slab plan_slab(const GroupNormShape& s, const SlabElement& element, int32_t images,
               const SlabDevice& device) {
  // Blocks of pixels read each image twice: 3 transfers forward where a slab needs 2, 5 backward
  // where it needs 3.
  const double blocks_bandwidth = images == 1 ? 2.0 / 3 : 3.0 / 5;
  Slab best{};
  double best_score = 0.0;
  for (int64_t groups = 1; groups <= s.groups; ++groups) {
    if (s.groups % groups != 0) continue;
    const Slab slab = widest_block(s, element, images, groups, device);
    if (slab.groups == 0) continue;
    if (!is_full_image(s, slab) && width(element, slab) < kSector) continue;
    const double bandwidth = expected_bandwidth(s, element, slab, device);
    const double score = bandwidth * expected_occupancy(s, element, slab, device);
    if (bandwidth <= blocks_bandwidth || score <= best_score) continue;
    best = slab;
    best_score = score;
  }
  return best;
}

}  // namespace ddpm::kernels
