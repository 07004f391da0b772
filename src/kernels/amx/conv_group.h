#pragma once

#include "../cpu/buffer.h"
#include "conv_shapes.h"
#include "tiles.h"

#include <optional>

#include <torch/types.h>

// A convolution of one group of images or rows. For each output position p and output channel o
//   y[p][o] = bias[o] + sum over taps t and channels c of x[p + offset(t)][c] w[o][c][t],
// which is one matrix product per tap. The group's pixels are first copied to their positions
// (ConvGroup). The rows of every tap's left factor are then consecutive in memory: no im2col matrix
// is written.

namespace ddpm::kernels::amx {

/// Weights [O,C,3,3] or [O,C,1,1] of float32 in bfloat16, in the order in which
/// ConvLoops::convolve_panel reads them, ConvLoops::words each: [out / 32][taps][in][32], in the order
/// of the loops' own pack_weight. transposed: for
/// the gradient of x, with in and out exchanged and each 3x3 rotated by 180 degrees.
Buffer<Bf16> pack_weights(const ConvLoops& loops, const torch::Tensor& weight, bool transposed);

/// The convolution of one group, with the working memory of one thread.
class GroupConvolution {
 public:
  /// in, out: channels of this convolution. largest: the group that needs most positions.
  GroupConvolution(const ConvLoops& loops, const ConvShape& s, int64_t taps, int64_t in,
                   int64_t out, const ConvGroup& largest);

  /// Sets y at the group's pixels. x, residual (added to the result) and y: image
  /// [pixels][channels] to which the group belongs. weight: packed. bias and residual may be null.
  void convolve_group(const ConvGroup& g, const Bf16* x, const Bf16* weight, const float* bias,
                      const Bf16* residual, Bf16* y) const;

 private:
  const ConvLoops& loops_;
  ConvShape s_;
  int64_t taps_, in_, out_;
  Buffer<Bf16> positions_;
};

/// The 3x3 convolution and, if there is one, the 1x1 convolution of the shortcut.
struct BlockConvolutions {
  GroupConvolution conv;
  std::optional<GroupConvolution> shortcut;

  BlockConvolutions(const ConvLoops& loops, const ConvShape& s, int64_t in, int64_t out,
                    const ConvGroup& largest, bool has_shortcut);
};

}  // namespace ddpm::kernels::amx
