#pragma once

#include <torch/types.h>

namespace ddpm::kernels {

/// at::linear, x [..., K] weight [N, K]' + bias [N], plus residual [..., N] if that is defined. On a
/// GPU, in autocast's type, bias and residual are added in one pass, and the bias's gradient is
/// summed in float32. weight may be in autocast's type already.
torch::Tensor linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                     const torch::Tensor& residual = {});

/// softmax(q k' / sqrt(D)) v (Vaswani et al. 2017, Eq. 1) of every image and head. qkv: q, k and v
/// concatenated, [B, N, 3 * heads * D] -> [B, N, heads * D].
/// On a CPU with AMX or AVX-512-BF16, in bfloat16, it is one fused operation with the softmax in
/// float32, if N and D are multiples of 32 and N is at most 1024. Otherwise it is at::scaled_dot_product_attention.
torch::Tensor attention(const torch::Tensor& qkv, int64_t heads);

}  // namespace ddpm::kernels
