#pragma once

#include <cstdint>

// Innermost loops of the CPU's kernels, compiled once for each kind of processor
// (cpu/loops_*.cpp) and chosen when the program runs.

namespace ddpm::kernels {

/// A bfloat16 in memory.
struct Bf16 {
  uint16_t bits;
};

/// group_norm_loops.h describes them. T: in memory; A: sums and coefficients. partial: pairs, one a
/// channel; k: [5, channels].
template <class T, class A>
struct GroupNormLoops {
  void (*moments)(const T* x, int64_t pixels, int64_t channels, double* partial);
  void (*apply)(const T* x, T* y, int64_t pixels, int64_t channels, const A* k, bool silu);
  void (*sums)(const T* x, const T* dy, int64_t pixels, int64_t channels, const A* k, bool silu,
               double* partial);
  void (*gradient)(const T* x, const T* dy, T* dx, int64_t pixels, int64_t channels, const A* k,
                   bool silu);
};

/// Images [batch, height, width, channels] whose pixels are the results of tiles of 2x2, counted
/// row by row, image by image.
struct WinogradShape {
  int64_t batch, height, width, channels;
  int64_t tiles() const { return batch * ((height + 1) / 2) * ((width + 1) / 2); }
};

/// winograd_loops.h describes them. Channels are multiples of `columns`; `zeros` are as many as
/// channels.
struct WinogradLoops {
  int64_t columns, rows;  ///< of the products' blocks
  void (*input)(const WinogradShape& s, const float* x, const float* zeros, int64_t first,
                int64_t count, float* to, int64_t stride);
  void (*gradient)(const WinogradShape& s, const float* dy, const float* zeros, int64_t first,
                   int64_t count, float* to, int64_t stride);
  void (*output)(const WinogradShape& s, const float* m, int64_t stride, const float* bias,
                 int64_t first, int64_t count, float* y);
  void (*multiply)(const float* a, const float* b, float* c, int64_t rows, int64_t k,
                   int64_t columns);
  void (*accumulate)(const float* a, const float* b, float* c, int64_t k, int64_t rows,
                     int64_t columns);
};

struct CpuLoops {
  GroupNormLoops<float, float> group_norm_f32;
  GroupNormLoops<Bf16, float> group_norm_bf16;
  GroupNormLoops<double, double> group_norm_f64;
  WinogradLoops winograd;
};

/// Each nullptr where the compiler does not know such a processor.
const CpuLoops* loops_base();
const CpuLoops* loops_avx2();
const CpuLoops* loops_avx512();

/// The best that this processor can run.
const CpuLoops& cpu_loops();

}  // namespace ddpm::kernels
