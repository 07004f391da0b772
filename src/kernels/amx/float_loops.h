#pragma once

#include "register_loops.h"

// The convolution's loops with factors in float32, for processors whose float32 multiply-adds are
// faster than products of bfloat16, or which have none. Images and results are bfloat16, weights are
// rounded to it: the sums are those of the other bodies, to rounding.

namespace ddpm::kernels::amx {
namespace {

/// x as bfloat16 has it.
DDPM_INLINE Floats rounded(Floats x) {
  Bf16 y[kLanes];
  FloatPack::store(y, x);
  return FloatPack::load(y);
}

struct FloatArithmetic {
  using Word = float;
  static constexpr int64_t kTerms = 1;
  static constexpr WordLayout kWeightLayout{kPanel, kTile};

  // x - 0 compiles to a broadcast of x; x + 0 would be another operation (x may be -0).
  static DDPM_INLINE Floats broadcast(const float* a) { return *a - Floats{}; }
  static DDPM_INLINE Floats multiply_add(Floats sum, Floats a, Floats b) { return sum + a * b; }
};

void gather_floats(const ConvGroup& g, const Bf16* image, int64_t channels, int64_t count,
                   Bf16* to) {
  gather(g, image, channels, /*border=*/true, count, reinterpret_cast<float*>(to));
}

void arrange_x_floats(const ConvGroup& g, const Bf16* image, int64_t channels, int64_t count,
                      Bf16* /*panel*/, Bf16* even, Bf16* /*odd*/) {
  gather_floats(g, image, channels, count, even);
}

void arrange_dy_floats(const ConvGroup& g, const Bf16* image, int64_t channels, int64_t /*count*/,
                       Bf16* /*panel*/, Bf16* to, float* sum) {
  auto* floats = reinterpret_cast<float*>(to);
  for (int64_t b = 0; b < g.images; ++b) {
    const Bf16* from = image + (b * g.height + g.first_row) * g.width * channels;
    for (int64_t p = 0; p < g.rows * g.width; ++p, from += channels, floats += kPanel)
      copy_panel(from, floats);
  }
  add_pixels(g, image, channels, sum);
}

/// [32 out][in], rows `stride` apart, to [in][32 out].
void pack_weight_floats(const float* weight, int64_t stride, int64_t in, Bf16* to) {
  auto* floats = reinterpret_cast<float*>(to);
  for (int64_t i = 0; i < in; ++i, floats += kPanel) {
    for (int64_t o = 0; o < kPanel; ++o) floats[o] = weight[o * stride + i];
    for (int64_t o = 0; o < kPanel; o += kLanes)
      FloatPack::store(floats + o, rounded(FloatPack::load(floats + o)));
  }
}

/// [in][32 out], rows `stride` apart, to [in][32 out].
void pack_weight_transposed_floats(const float* weight, int64_t stride, int64_t in, Bf16* to) {
  auto* floats = reinterpret_cast<float*>(to);
  for (int64_t i = 0; i < in; ++i, floats += kPanel) {
    for (int64_t o = 0; o < kPanel; o += kLanes)
      FloatPack::store(floats + o, rounded(FloatPack::load(weight + i * stride + o)));
  }
}

constexpr ConvLoops float_conv_loops() {
  return {.words = 2,
          .gather = gather_floats,
          .convolve_panel = convolve_rows<FloatArithmetic>,
          .arrange_x = arrange_x_floats,
          .arrange_dy = arrange_dy_floats,
          .add_weight_gradient = add_gradient<FloatArithmetic>,
          .pack_weight = pack_weight_floats,
          .pack_weight_transposed = pack_weight_transposed_floats};
}

}  // namespace
}  // namespace ddpm::kernels::amx
