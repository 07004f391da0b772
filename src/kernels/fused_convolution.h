#pragma once

#include "cpu/loops.h"
#include "ddpm/kernels/norm_convolution.h"

namespace ddpm::kernels {

/// Whether tile_conv3x3 takes these: CPU, bfloat16 by autocast or as they are, channels in
/// multiples of 32, tiles (Intel AMX).
bool has_tiles_for(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias);

/// What may join; each may be undefined.
struct TileOptions {
  torch::Tensor residual = {};  ///< [B,O,H,W], added to the result
  torch::Tensor beside = {};    ///< [B,C2,H,W], joins x along the channels
  torch::Tensor shortcut_weight = {}, shortcut_bias = {};  ///< [O,C+C2,1,1], [O]
};

struct TileResults {
  torch::Tensor y;
  torch::Tensor shortcut;  ///< the 1x1 convolution of what came in, where its weight is defined
};

/// norm ? conv3x3(SiLU(GroupNorm(x))) : conv3x3(x), in bfloat16 with sums in float32, image by
/// image: what lies between norm and convolution stays in the cache and is computed again in the
/// backward pass. `loops`: of the tiles; tests give the plain ones.
TileResults tile_conv3x3(const TileConvLoops& loops, const torch::Tensor& x, const Norm* norm,
                         const torch::Tensor& weight, const torch::Tensor& bias,
                         const TileOptions& options = {});

}  // namespace ddpm::kernels
