#include "group_norm_slab_plan.h"

#include <algorithm>
#include <numeric>

namespace ddpm::kernels {
namespace {

constexpr int64_t kSector = 32;  // bytes: the least that is read from memory
constexpr int64_t kReserved =
    1024;  // bytes of shared memory that every block costs besides its own
constexpr int64_t kWarp = 32;
constexpr int64_t kMostBlocks = (int64_t{1} << 31) - 1;  // of a grid

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

int64_t resident(const Slab& slab, const SlabDevice& device) {
  return device.shared_per_processor / (slab.shared + kReserved);
}

// Three blocks of 256 threads on a processor keep it busy; of fewer, each has more threads.
Slab widest_block(const GroupNormShape& s, const SlabElement& element, int32_t images,
                  int64_t groups, const SlabDevice& device) {
  const int32_t most = slab_most_threads(element.vector);
  const auto of = [&](int32_t threads) {
    return make_slab(s, element, images, groups, threads, device.shared_per_block);
  };
  const Slab few = of(std::min(256, most)), many = of(most);
  if (few.groups == 0 || many.groups == 0) return few.groups == 0 ? many : few;
  const int64_t blocks = resident(few, device);
  return blocks < 3 && resident(many, device) == blocks ? many : few;
}

// A pixel's part of a slab, in bytes; of the whole image nothing is cut.
bool whole(const GroupNormShape& s, const Slab& slab) { return slab.groups == s.groups; }
int64_t width(const SlabElement& element, const Slab& slab) {
  return int64_t{slab.channels} * element.size;
}

// What sectors that two slabs share cost: they are read twice, though the second time from L2.
double share_of_sectors(const GroupNormShape& s, const SlabElement& element, const Slab& slab) {
  if (whole(s, slab)) return 1.0;
  const int64_t bytes = width(element, slab), cut = kSector - std::gcd(bytes, kSector);
  return static_cast<double>(bytes) / (static_cast<double>(bytes) + 0.5 * static_cast<double>(cut));
}

// The share of the memory's rate that is expected: a block alone on its processor does not load
// while it computes. Estimates, to be replaced by measurements.
double share_of_rate(const GroupNormShape& s, const SlabElement& element, const Slab& slab,
                     const SlabDevice& device) {
  const int64_t blocks = resident(slab, device);
  const double overlap = blocks >= 3 ? 1.0 : blocks == 2 ? 0.9 : 0.65;
  const bool narrow = !whole(s, slab) && width(element, slab) < 2 * kSector;
  return overlap * (narrow ? 0.95 : 1.0) * share_of_sectors(s, element, slab);
}

// How much of the device has work, and whether a block has enough of it to be worth starting.
double share_of_device(const GroupNormShape& s, const SlabElement& element, const Slab& slab,
                       const SlabDevice& device) {
  constexpr double kEnough = 4096;  // bytes
  const auto bytes = static_cast<double>(s.pixels * slab.channels * element.size);
  const auto blocks = static_cast<double>(s.batch * (s.groups / slab.groups));
  return std::min(1.0, bytes / kEnough) *
         std::min(1.0, blocks / static_cast<double>(device.processors));
}

}  // namespace

Slab make_slab(const GroupNormShape& s, const SlabElement& element, int32_t images, int64_t groups,
               int32_t most_threads, int64_t shared_per_block) {
  const int64_t channels = groups * s.group_size(), lanes = channels / element.vector;
  const bool fits = channels % element.vector == 0 && lanes <= most_threads &&
                    images * s.pixels <= shared_per_block / (channels * element.size) &&
                    s.batch <= kMostBlocks / (s.groups / groups);
  if (!fits) return {};
  const int64_t threads = std::min<int64_t>(most_threads, round_up(s.pixels * lanes, kWarp));
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
  // Tiles read each image twice: 3 transfers forward where a slab takes 2, 5 backward for 3.
  const double tiles = images == 1 ? 2.0 / 3 : 3.0 / 5;
  Slab best{};
  double best_score = 0.0;
  for (int64_t groups = 1; groups <= s.groups; ++groups) {
    if (s.groups % groups != 0) continue;
    const Slab slab = widest_block(s, element, images, groups, device);
    if (slab.groups == 0) continue;
    if (!whole(s, slab) && width(element, slab) < kSector) continue;
    const double rate = share_of_rate(s, element, slab, device);
    const double score = rate * share_of_device(s, element, slab, device);
    if (rate <= tiles || score <= best_score) continue;
    best = slab;
    best_score = score;
  }
  return best;
}

}  // namespace ddpm::kernels
