#pragma once

#include <cstdint>

// The innermost loops of the CPU's kernels, as tables of functions. The same source (loops_table.h)
// is compiled once per kind of processor: for the baseline, AVX2, AVX-512 and AVX-512 with bfloat16
// (loops_*.cpp). The program chooses a table when it runs, so that one binary is fast everywhere.

namespace ddpm::kernels {

/// A bfloat16 in memory.
struct Bf16 {
  uint16_t bits;
};

/// group_norm_loops.h describes the functions. T: type in memory; A: type of sums and coefficients.
/// partial: one pair of numbers per channel; k: [5, channels]. `derivative`: that of SiLU.
template <class T, class A>
struct GroupNormLoops {
  void (*moments)(const T* x, int64_t pixels, int64_t channels, double* partial);
  void (*apply)(const T* x, T* y, T* derivative, int64_t pixels, int64_t channels, const A* k,
                bool silu);
  void (*sums)(const T* x, const T* dy, const T* derivative, int64_t pixels, int64_t channels,
               const A* k, bool silu, double* partial);
  void (*gradient)(const T* x, const T* dy, const T* derivative, T* dx, int64_t pixels,
                   int64_t channels, const A* k, bool silu);
};

/// Images [batch, height, width, channels], divided into patches of 2x2 pixels, which are counted
/// row by row, image by image.
struct WinogradShape {
  int64_t batch, height, width, channels;
  int64_t patches() const { return batch * ((height + 1) / 2) * ((width + 1) / 2); }
};

/// winograd_loops.h describes the functions. Channels are multiples of `columns`; `zeros` holds one
/// zero per channel.
struct WinogradLoops {
  int64_t columns, rows;  ///< of the blocks that multiply works on
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

/// Each is nullptr if the compiler does not support such a processor.
const CpuLoops* loops_base();
const CpuLoops* loops_avx2();
const CpuLoops* loops_avx512();
const CpuLoops* loops_avx512bf16();

/// Those of cpu_isa().
const CpuLoops& cpu_loops();

}  // namespace ddpm::kernels
