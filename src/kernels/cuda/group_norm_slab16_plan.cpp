#include "group_norm_slab16_plan.h"

#include <algorithm>

namespace ddpm::kernels {
namespace {

constexpr int64_t kSlab16Warp = 32;
constexpr int32_t kMaxShared = 48 << 10;  // without opting in
constexpr int64_t kSlab16MaxBlocks = (int64_t{1} << 31) - 1;

int64_t round_up_to(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Measured on an H200 over the norms of the cifar10 preset: slabs of 64 channels (full lines of
// memory) are the fastest, if a thread then has 8 vectors at most, and better 4.
constexpr int64_t kWidest = 64, kNarrowest = 16;  // channels; 16 are a sector of memory

// With as few threads as have 4 vectors each, else 256 that have 8.
Slab16 of_best_threads(const GroupNormShape& s, int64_t groups) {
  for (const int32_t threads : {64, 128, 256}) {
    const Slab16 slab = make_slab16(s, groups, threads);
    if (slab.groups > 0 && (slab.held <= 4 || threads == 256)) return slab;
  }
  return {};
}

}  // namespace

Slab16 make_slab16(const GroupNormShape& s, int64_t groups, int32_t max_threads) {
  const int64_t channels = groups * s.group_size(), lanes = channels / kSlab16Vector;
  if (channels % kSlab16Vector != 0 || lanes > max_threads ||
      s.batch > kSlab16MaxBlocks / (s.groups / groups)) {
    return {};
  }
  const int64_t threads =
      std::min<int64_t>(max_threads, round_up_to(s.pixels * lanes, kSlab16Warp));
  const int64_t rows = threads / lanes;
  int32_t held = 1;
  while (held * rows < s.pixels && held <= kSlab16MaxHeld) held *= 2;
  const Slab16 slab{static_cast<int32_t>(groups),
                    static_cast<int32_t>(channels),
                    static_cast<int32_t>(lanes),
                    static_cast<int32_t>(rows),
                    static_cast<int32_t>(threads),
                    held,
                    rows * lanes == threads && rows * held == s.pixels};
  const bool fits = held <= kSlab16MaxHeld && threads <= slab16_max_threads(held) &&
                    slab16_shared(slab) <= kMaxShared;
  return fits ? slab : Slab16{};
}

Slab16 plan_slab16(const GroupNormShape& s, int32_t images, int64_t processors) {
  Slab16 best{};
  for (int64_t groups = s.groups; groups >= 1; --groups) {
    const int64_t channels = groups * s.group_size();
    if (s.groups % groups != 0 || (channels > kWidest && groups > 1)) continue;
    if (groups != s.groups && channels < kNarrowest) break;
    const Slab16 slab = of_best_threads(s, groups);
    if (slab.groups == 0) continue;
    best = slab;  // narrower than the one before, if that leaves processors idle
    if (s.batch * (s.groups / groups) >= 2 * processors) break;
  }
  if (best.groups > 0 || images == 1) return best;
  // Backward, more threads are still faster than to read the image twice.
  for (int64_t groups = 1; groups <= s.groups; ++groups) {
    if (s.groups % groups != 0 || (groups * s.group_size() < kNarrowest && groups < s.groups))
      continue;
    for (const int32_t threads : {384, slab16_max_threads(kSlab16MaxHeld)}) {
      const Slab16 slab = make_slab16(s, groups, threads);
      if (slab.groups > 0) return slab;
    }
  }
  return {};
}

}  // namespace ddpm::kernels
