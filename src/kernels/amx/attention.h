#pragma once

#include "../cpu/loops.h"

#include <torch/types.h>

namespace ddpm::kernels {

/// kernels::attention by tiles. `loops`: of the tiles; tests give the plain ones.
torch::Tensor tile_attention(const TileAttentionLoops& loops, const torch::Tensor& qkv,
                             int64_t heads);

}  // namespace ddpm::kernels
