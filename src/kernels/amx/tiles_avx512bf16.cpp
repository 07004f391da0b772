#include "tiles.h"

// The loops with AVX-512's products of pairs of bfloat16 (vdpbf16ps), for processors without AMX.
// One instruction adds a[2k] b[2k] + a[2k + 1] b[2k + 1] to 16 sums.

#if defined(__AVX512BF16__)

#include "attention_loops.h"
#include "avx512_layout.h"
#include "conv_loops.h"
#include "float_loops.h"
#include "register_loops.h"

namespace ddpm::kernels::amx {
namespace {

struct PairArithmetic {
  using Word = int32_t;
  static constexpr int64_t kTerms = 2;
  static constexpr WordLayout kWeightLayout{kTile, kTileSize / kTerms};

  static DDPM_INLINE Floats broadcast(const int32_t* a) {
    int32_t pair;
    __builtin_memcpy(&pair, a, sizeof(pair));
    return bits_as<Floats>(_mm512_set1_epi32(pair));
  }
  static DDPM_INLINE Floats multiply_add(Floats sum, Floats a, Floats b) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
  }
};

struct Avx512Tiles : Avx512Layout {
  struct Config {};  // registers need no set-up

  static DDPM_INLINE void multiply(const LeftPanel& a, const RightPanel& b, int64_t steps, bool add,
                                   float* to, int64_t stride) {
    constexpr int kRows = 8;
    const auto words = [](const Bf16* from) { return reinterpret_cast<const int32_t*>(from); };
    for (int64_t row = 0; row < kPanel; row += kRows, to += kRows * stride) {
      const Bf16* left = (row < kTile ? a.upper : a.lower) + row % kTile * a.row_stride;
      RegisterSums<PairArithmetic, kRows> sums;
      add ? sums.load(to, stride) : sums.zero();
      for (int64_t i = 0; i < steps; ++i) {
        const Bf16 *low = b.left + i * b.step, *high = b.right + i * b.step;
#pragma GCC unroll 16
        for (int64_t k = 0; k < kTile; ++k) {
          sums.add(words(left + i * a.step + 2 * k), a.row_stride / 2,
                   words(low + k * b.row_stride), words(high + k * b.row_stride));
        }
      }
      sums.store(to, stride);
    }
  }
};

/// dy in pairs of pixels of a row, [pairs][32][2]; in a row of odd width the last has a zero.
void arrange_dy_pairs(const ConvGroup& g, const Bf16* image, int64_t channels, int64_t /*count*/,
                      Bf16* panel, Bf16* to, float* sum) {
  Bf16* at = panel;
  for (int64_t b = 0; b < g.images; ++b) {
    for (int64_t r = g.first_row; r < g.first_row + g.rows; ++r) {
      const Bf16* from = image + (b * g.height + r) * g.width * channels;
      for (int64_t c = 0; c < g.width; ++c, from += channels, at += kPanel) copy_panel(from, at);
      if (g.width % 2 == 0) continue;
      __builtin_memset(at, 0, kPanel * sizeof(Bf16));
      at += kPanel;
    }
  }
  for (const Bf16* from = panel; from < at; from += 2 * kPanel, to += 2 * kPanel)
    Avx512Layout::interleave(from, from + kPanel, to);
  add_pixels(g, image, channels, sum);
}

constexpr ConvLoops pair_conv_loops() {
  return {.words = 1,
          .gather = gather_panel,
          .convolve_panel = convolve_rows<PairArithmetic>,
          .arrange_x = arrange_x<Avx512Tiles>,
          .arrange_dy = arrange_dy_pairs,
          .add_weight_gradient = add_gradient<PairArithmetic>,
          .pack_weight = pack_weight<Avx512Tiles>,
          .pack_weight_transposed = pack_weight_transposed<Avx512Tiles>};
}

constexpr TileLoops kPairLoops{pair_conv_loops(), attention_loops<Avx512Tiles>()};
constexpr TileLoops kFloatLoops{float_conv_loops(), attention_loops<Avx512Tiles>()};

}  // namespace

const TileLoops* tile_loops_avx512bf16() { return &kPairLoops; }
const TileLoops* tile_loops_avx512bf16_float() { return &kFloatLoops; }

}  // namespace ddpm::kernels::amx

#else

namespace ddpm::kernels::amx {
const TileLoops* tile_loops_avx512bf16() { return nullptr; }
const TileLoops* tile_loops_avx512bf16_float() { return nullptr; }
}  // namespace ddpm::kernels::amx

#endif
