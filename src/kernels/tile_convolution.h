#pragma once

#include "cpu_loops.h"
#include "ddpm/kernels/norm_convolution.h"

namespace ddpm::kernels {

/// Whether tile_conv3x3 takes these: CPU, bfloat16 by autocast or as they are, channels in
/// multiples of 32, tiles (Intel AMX).
bool has_tiles_for(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias);

/// norm ? conv3x3(SiLU(GroupNorm(x))) : conv3x3(x), plus residual where it is defined, with x
/// joined by `beside` [B,C2,H,W] along the channels where that is, in bfloat16 with sums in
/// float32, image by image: what lies between norm and convolution stays in the cache and is
/// computed again in the backward pass. `loops`: of the tiles; tests give the plain ones.
torch::Tensor tile_conv3x3(const TileConvLoops& loops, const torch::Tensor& x, const Norm* norm,
                           const torch::Tensor& weight, const torch::Tensor& bias,
                           const torch::Tensor& residual, const torch::Tensor& beside = {});

}  // namespace ddpm::kernels
