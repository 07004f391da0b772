#pragma once

#include "../cpu/simd.h"
#include "panels.h"

// The product of two panels from a policy `Tiles` that has 2x2 tiles of sums: zero4, load4 and
// store4 for the sums, multiply4 to add a product of 32 terms to them.

namespace ddpm::kernels::amx {
namespace {

template <class Tiles>
struct TileProducts : Tiles {
  static DDPM_INLINE void multiply(LeftPanel a, RightPanel b, int64_t steps, bool add, float* sums,
                                   int64_t stride) {
    if (add) {
      Tiles::load4(sums, stride);
    } else {
      Tiles::zero4();
    }
    for (int64_t i = 0; i < steps; ++i) {
      Tiles::multiply4(a.upper, a.lower, a.row_stride, b.left, b.right, b.row_stride);
      a.upper += a.step, a.lower += a.step;
      b.left += b.step, b.right += b.step;
    }
    Tiles::store4(sums, stride);
    compiler_barrier();
  }
};

}  // namespace
}  // namespace ddpm::kernels::amx
