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
  void (*apply)(const T* x, T* y, T* slope, int64_t pixels, int64_t channels, const A* k,
                bool silu);
  void (*sums)(const T* x, const T* dy, const T* slope, int64_t pixels, int64_t channels,
               const A* k, bool silu, double* partial);
  void (*gradient)(const T* x, const T* dy, const T* slope, T* dx, int64_t pixels, int64_t channels,
                   const A* k, bool silu);
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

/// Channels, tokens or positions that the loops of tiles take together.
constexpr int64_t kPanel = 32;

/// The pixels of some images [batch, height, width, channels], numbered for tile_conv_loops.h: row
/// by row, a position of zeros after each row (the right border of one and the left border of the
/// next), a row of zeros after each image. Results are numbered alike; those beside a pixel mean
/// nothing. Several images, or some rows of one.
struct ConvGroup {
  int64_t images, first_row, rows;
  int64_t height, width;
  int64_t row() const { return width + 1; }
  int64_t results() const { return images * (rows + 1) * row() - row() - 1; }
};

/// tile_conv_loops.h describes them. Channels are multiples of kPanel; taps: 9, or 1 for the
/// middle.
struct TileConvLoops {
  void (*gather)(const ConvGroup& g, const Bf16* image, int64_t channels, bool border,
                 int64_t count, Bf16* to);
  void (*convolve_panel)(const ConvGroup& g, int64_t taps, const Bf16* x, int64_t count, int64_t in,
                         const Bf16* weight, const float* bias, const Bf16* residual, Bf16* y,
                         int64_t out);
  void (*pair_positions)(const Bf16* x, int64_t count, Bf16* even, Bf16* odd);
  void (*turn_positions)(const Bf16* dy, int64_t count, Bf16* to, float* sum);
  void (*accumulate)(int64_t row, int64_t taps, int64_t count, const Bf16* dy, int64_t out,
                     const Bf16* even, const Bf16* odd, int64_t x_count, int64_t in, float* sums);
  void (*pack_rows)(const float* weight, int64_t stride, int64_t in, Bf16* to);
  void (*pack_columns)(const float* weight, int64_t stride, int64_t in, Bf16* to);
};

/// One head: rows of `channels` numbers, those of q, k, v and their gradients `stride` apart, those
/// of y and its gradient `y_stride`; scores are multiplied by `scale`.
struct AttentionShape {
  int64_t tokens, channels, stride, y_stride;
  float scale;
};

/// tile_attention_loops.h describes them. halves and floats: space for as many as the functions
/// beside say. log_sum: [tokens], set by forward.
struct TileAttentionLoops {
  int64_t (*halves)(const AttentionShape& s, bool backward);
  int64_t (*floats)(const AttentionShape& s);
  void (*forward)(const AttentionShape& s, const Bf16* q, const Bf16* k, const Bf16* v, Bf16* y,
                  float* log_sum, Bf16* halves, float* floats);
  void (*backward)(const AttentionShape& s, const Bf16* q, const Bf16* k, const Bf16* v,
                   const Bf16* y, const Bf16* dy, const float* log_sum, Bf16* dq, Bf16* dk,
                   Bf16* dv, Bf16* halves, float* floats);
};

struct TileLoops {
  TileConvLoops convolution;
  TileAttentionLoops attention;
};

/// Each nullptr where the compiler does not know such a processor.
const CpuLoops* loops_base();
const CpuLoops* loops_avx2();
const CpuLoops* loops_avx512();
const CpuLoops* loops_avx512bf16();

/// The best that this processor can run.
const CpuLoops& cpu_loops();

/// With the processor's tiles: nullptr where the compiler does not know them; and with tiles
/// written out.
const TileLoops* tile_loops_amx();
const TileLoops* tile_loops_plain();

/// tile_loops_amx() where processor and system have tiles, else nullptr.
const TileLoops* tile_loops();

}  // namespace ddpm::kernels
