#pragma once

#include <torch/types.h>

namespace ddpm::kernels {

/// softmax(q k' / sqrt(D)) v (Vaswani et al. 2017, Eq. 1) of every image and head. qkv: q, k and v
/// concatenated, [B, N, 3 * heads * D] -> [B, N, heads * D].
/// It is one fused operation with the softmax in float32 on a CPU with Intel AMX, in bfloat16, with
/// N and D multiples of 32 and N at most 1024. Otherwise it is at::scaled_dot_product_attention.
torch::Tensor attention(const torch::Tensor& qkv, int64_t heads);

}  // namespace ddpm::kernels
