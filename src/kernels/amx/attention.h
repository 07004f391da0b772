#pragma once

#include "tiles.h"

#include <torch/types.h>

// Attention of all images and heads in bfloat16; each thread takes heads, as attention_loops.h
// computes them. The forward pass keeps the logarithm of each row's sum of exponentials, from which
// the backward pass computes the weights again. Axes: B batch, N tokens, M heads, D channels per
// head.

namespace ddpm::kernels::amx {

/// Whether tile_loops() have attention and attention_forward supports qkv: bfloat16 on the CPU, N and D
/// multiples of 32, N at most 1024.
bool can_attend(const torch::Tensor& qkv, int64_t heads);

struct AttentionOutputs {
  torch::Tensor y;            ///< [B, N, M D]
  torch::Tensor log_sum_BMN;  ///< float32
};

/// qkv: contiguous bfloat16 [B, N, 3 M D].
AttentionOutputs attention_forward(const AttentionLoops& loops, const torch::Tensor& qkv,
                                   int64_t heads);

/// The gradient of qkv from dy, that of y: contiguous bfloat16 [B, N, M D].
torch::Tensor attention_backward(const AttentionLoops& loops, const torch::Tensor& qkv,
                                 int64_t heads, const AttentionOutputs& outputs,
                                 const torch::Tensor& dy);

}  // namespace ddpm::kernels::amx
