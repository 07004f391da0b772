#pragma once

#include "ddpm/kernels/residual_block.h"
#include "group_norm_buffers.h"

#include <torch/types.h>

// GroupNorm, SiLU and dropout as the two passes that autograd functions are made of.

namespace ddpm::kernels {

struct NormPass {
  torch::Tensor x;          ///< [B,C,H,W], channels_last
  torch::Tensor skip = {};  ///< [B,C2,H,W], concatenated to x along the channels; may be undefined
  Norm norm;                ///< of C + C2 channels
  bool silu = true;
  double dropout = 0.0;            ///< 0 <= p < 1; needs a key
  torch::Tensor dropout_key = {};  ///< int64 [1], on x's device: see dropout.h
};

struct NormResult {
  torch::Tensor y;  ///< [B, C + C2, H, W]
  GroupNormStatistics statistics;
};

/// The gradients of the pass's defined tensors, in their types.
struct NormGradients {
  torch::Tensor x, skip, weight, bias, add, scale, shift;
};

/// Whether there are kernels for x: channels_last on a CPU or, if compiled in, a GPU.
bool has_norm_kernel(const torch::Tensor& x);

NormResult norm_forward(const NormPass& pass);

/// x_addend, skip_addend: added to the gradients of x and skip; may be undefined.
NormGradients norm_backward(const NormPass& pass, const GroupNormStatistics& statistics,
                            const torch::Tensor& dy, const torch::Tensor& x_addend = {},
                            const torch::Tensor& skip_addend = {});

}  // namespace ddpm::kernels
