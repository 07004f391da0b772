#include "ddpm/kernels/attention.h"

#include "amx/attention.h"
#include "fused_attention.h"

#include <ATen/ops/scaled_dot_product_attention.h>

// Chooses between our attention (amx/attention.h) and ATen's.

namespace ddpm::kernels {

torch::Tensor attention(const torch::Tensor& qkv, int64_t heads) {
  TORCH_CHECK(qkv.dim() == 3 && heads > 0 && qkv.size(2) % (3 * heads) == 0, heads,
              " heads of q, k and v in ", qkv.sizes());
  if (amx::can_attend(qkv, heads)) return fused_attention(amx::tile_loops()->attention, qkv, heads);
  const int64_t batch = qkv.size(0), tokens = qkv.size(1), channels = qkv.size(2) / 3;
  // unbind: its gradient is one concatenation; that of three slices is three sums.
  const std::vector<torch::Tensor> parts = qkv.unflatten(2, {3, heads, channels / heads}).unbind(2);
  const auto part = [&](size_t i) { return parts[i].transpose(1, 2); };
  const torch::Tensor y_BMND = at::scaled_dot_product_attention(part(0), part(1), part(2));
  return y_BMND.transpose(1, 2).reshape({batch, tokens, channels});
}

}  // namespace ddpm::kernels
