#pragma once

#include "../cpu/loops.h"

#include <cstdint>

// The innermost loops of the bfloat16 kernels, as tables of functions. They are products of tiles
//   c[m][n] += sum over k of a[m][k] b[k][n]
// with a tile of 16x32 bfloat16 numbers, one of 32x16, and 16x16 float32 sums. On Intel AMX this is
// one instruction of 16,384 operations. The loops have several bodies:
//   tiles_amx.cpp         AMX tiles, registers of 16 rows of 64 bytes;
//   tiles_avx512bf16.cpp  AVX-512-BF16, for processors without AMX;
//   tiles_avx512.cpp      AVX-512 and AVX2 in float32, for processors without products of
//   tiles_avx2.cpp        bfloat16: the convolution alone;
//   tiles_plain.cpp       plain C++, which tests run on any processor.

namespace ddpm::kernels::amx {

/// Channels, tokens or positions that the loops process together: two tiles side by side.
constexpr int64_t kPanel = 32;

/// The pixels of some images [batch, height, width, channels], numbered row by row for
/// conv_loops.h. After each row there is one position of zeros, the right border of that row and
/// the left border of the next. After each image there is a row of zeros. Results are numbered
/// alike; those at positions without a pixel are meaningless. A group is several images, or some
/// rows of one.
struct ConvGroup {
  int64_t images, first_row, rows;
  int64_t height, width;
  /// Positions from a pixel to the one below it.
  int64_t row_stride() const { return width + 1; }
  int64_t result_positions() const { return images * (rows + 1) * row_stride() - row_stride() - 1; }
};

/// conv_loops.h and register_loops.h describe the functions. Channels are multiples of kPanel;
/// taps: 9, or 1 for the middle one.
struct ConvLoops {
  /// Factors are arrays of Bf16 with this many for each number: 1, or 2 if they are float32.
  int64_t words;
  void (*gather)(const ConvGroup& g, const Bf16* image, int64_t channels, int64_t count, Bf16* to);
  void (*convolve_panel)(const ConvGroup& g, int64_t taps, const Bf16* x, int64_t count, int64_t in,
                         const Bf16* weight, const float* bias, const Bf16* residual, Bf16* y,
                         int64_t out);
  void (*arrange_x)(const ConvGroup& g, const Bf16* image, int64_t channels, int64_t count,
                    Bf16* panel, Bf16* even, Bf16* odd);
  void (*arrange_dy)(const ConvGroup& g, const Bf16* image, int64_t channels, int64_t count,
                     Bf16* panel, Bf16* to, float* sum);
  void (*add_weight_gradient)(const ConvGroup& g, int64_t taps, int64_t count, const Bf16* dy,
                              int64_t out, const Bf16* even, const Bf16* odd, int64_t x_count,
                              int64_t in, float* sums);
  void (*pack_weight)(const float* weight, int64_t stride, int64_t in, Bf16* to);
  void (*pack_weight_transposed)(const float* weight, int64_t stride, int64_t in, Bf16* to);
};

/// One head: rows of `channels` numbers. Rows of q, k, v and their gradients are `qkv_stride`
/// apart, those of y and its gradient `y_stride`. Scores are multiplied by `scale`.
struct AttentionShape {
  int64_t tokens, channels, qkv_stride, y_stride;
  float scale;
};

/// attention_loops.h describes the functions. bf16_buffer and float_buffer: working memory of
/// bf16_count and float_count numbers. log_sum: [tokens], set by forward.
struct AttentionLoops {
  int64_t (*bf16_count)(const AttentionShape& s, bool backward);
  int64_t (*float_count)(const AttentionShape& s);
  void (*forward)(const AttentionShape& s, const Bf16* q, const Bf16* k, const Bf16* v, Bf16* y,
                  float* log_sum, Bf16* bf16_buffer, float* float_buffer);
  void (*backward)(const AttentionShape& s, const Bf16* q, const Bf16* k, const Bf16* v,
                   const Bf16* y, const Bf16* dy, const float* log_sum, Bf16* dq, Bf16* dk,
                   Bf16* dv, Bf16* bf16_buffer, float* float_buffer);
};

struct TileLoops {
  ConvLoops convolution;
  AttentionLoops attention;
};

/// Each is nullptr if the compiler does not support such a processor.
const TileLoops* tile_loops_amx();
const TileLoops* tile_loops_avx512bf16();
/// As tile_loops_avx512bf16(), but the convolution multiplies in float32.
const TileLoops* tile_loops_avx512bf16_float();
/// The convolution in float32; no attention, whose functions are null.
const TileLoops* tile_loops_avx512();
const TileLoops* tile_loops_avx2();
/// In plain C++.
const TileLoops* tile_loops_plain();

/// The fastest loops of cpu_isa(), or nullptr for CpuIsa::kBase.
const TileLoops* tile_loops();

}  // namespace ddpm::kernels::amx
