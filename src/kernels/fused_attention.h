#pragma once

#include "amx/tiles.h"

#include <torch/types.h>

namespace ddpm::kernels {

/// kernels::attention in bfloat16, with its gradient; amx/attention.h has the conditions for qkv.
/// `loops`: the processor's; tests also pass the plain ones.
torch::Tensor fused_attention(const amx::AttentionLoops& loops, const torch::Tensor& qkv,
                              int64_t heads);

}  // namespace ddpm::kernels
