#pragma once

#include "../group_norm_buffers.h"
#include "conv_shapes.h"
#include "ddpm/kernels/residual_block.h"

#include <optional>

#include <torch/types.h>

// The input of the fused convolution: x, or x and a skip connection concatenated along the
// channels; then, if there is a norm, h = SiLU(GroupNorm(input)). Each thread computes them for the
// images that it works on. They never exist for the full batch.

namespace ddpm::kernels::amx {

/// Gradients of the inputs; undefined if not needed.
struct InputGradients {
  torch::Tensor x, skip;
};

/// The images that come in: x [B,C1,H,W] alone, or concatenated with skip [B,C2,H,W]. Both are
/// bfloat16, channels_last.
class ConvInput {
 public:
  /// skip may be undefined.
  ConvInput(const ConvShape& s, const torch::Tensor& x, const torch::Tensor& skip);

  bool is_concatenated() const { return skip_.defined(); }
  /// Images first .. first + count - 1, one after another: [count][pixels][in]. `buffer` has room
  /// for them if is_concatenated().
  const Bf16* images(int64_t first, int64_t count, Bf16* buffer) const;
  /// Splits the gradient of image i of the concatenated input into those of x and skip.
  void split_gradient(const Bf16* from, int64_t i, const InputGradients& to) const;

 private:
  ConvShape s_;
  torch::Tensor x_, skip_;
  int64_t x_channels_;
};

/// The GroupNorm in front of the convolution, if there is one: what cpu/group_norm.h needs.
struct InputNorm {
  std::optional<GroupNormShape> shape;
  std::optional<GroupNormBuffers> buffers;
  GroupNormArgs<float> args{};

  InputNorm() = default;
  /// For the forward pass, which sets the statistics. x: as ConvInput's. No norm if
  /// its weight is undefined.
  InputNorm(const torch::Tensor& x, const ConvShape& s, const Norm& norm);
  /// For the backward pass, with the statistics that the forward pass set.
  InputNorm(const torch::Tensor& x, const ConvShape& s, const Norm& norm,
            const GroupNormStatistics& statistics);

  explicit operator bool() const { return shape.has_value(); }
};

}  // namespace ddpm::kernels::amx
