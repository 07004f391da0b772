#pragma once

#include "../cpu/buffer.h"
#include "conv_shapes.h"
#include "tiles.h"

#include <torch/types.h>

// The gradients of a convolution's weight and bias as matrix products: for each tap t
//   dw[o][c][t] = sum over positions p of dy[p][o] x[p + offset(t)][c],  db[o] = sum over p of
//   dy[p][o].
// The sum runs over positions, so both factors are first rearranged. In products of bfloat16, dy is
// transposed and x becomes pairs of positions. A tap with an odd offset needs other pairs than one
// with an even offset, so x is stored with both. In float32 no pairs are needed.
// Each thread adds its groups to sums of its own, in float32. At the end these are added in the
// order of the threads, so that the result depends only on their number.

namespace ddpm::kernels::amx {

/// Gradients of weight [O,C,kh,kw] and bias [O].
struct WeightGradients {
  torch::Tensor weight, bias;
};

/// One thread's sums of the gradients of weight and bias over some groups.
class WeightGradientSum {
 public:
  /// sums: [out / 32][in / 32][taps][32][32], then [out]; set to 0. largest: the group that needs
  /// most positions.
  WeightGradientSum(const ConvLoops& loops, const ConvShape& s, int64_t taps,
                    const ConvGroup& largest, float* sums);

  /// Numbers of `sums`.
  static int64_t size(const ConvShape& s, int64_t taps);

  /// Adds a group's share. x and dy: the first image to which the group belongs.
  void add_group(const ConvGroup& g, const Bf16* x, const Bf16* dy) const;

 private:
  const ConvLoops& loops_;
  ConvShape s_;
  int64_t taps_;
  float* sums_;
  int64_t count_, x_count_;  // positions of dy and of x
  Buffer<Bf16> panel_, dy_, even_, odd_;
};

/// Adds the sums of `threads` threads, which lie `step` numbers apart, in their order. weight: what
/// the gradient is of.
WeightGradients reduce_weight_gradients(const ConvShape& s, const float* sums, int64_t threads,
                                        int64_t step, const torch::Tensor& weight);

}  // namespace ddpm::kernels::amx
