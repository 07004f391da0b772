#include "attention.h"

#include "../cpu/buffer.h"

#include <cmath>

#include <ATen/Parallel.h>

namespace ddpm::kernels::amx {
namespace {

// 32 rows of a head's weights must stay in the cache.
constexpr int64_t kMaxTokens = 1024;

// Where one head of one image begins in qkv, y and log_sum.
struct HeadOffsets {
  int64_t qkv, y, log_sum;
};

AttentionShape attention_shape(const torch::Tensor& qkv, int64_t heads) {
  const int64_t all_channels = qkv.size(2) / 3, channels = all_channels / heads;
  return {qkv.size(1), channels, 3 * all_channels, all_channels,
          static_cast<float>(1.0 / std::sqrt(static_cast<double>(channels)))};
}

// Calls body(offsets, bf16_buffer, float_buffer) for each head of each image.
template <class Body>
void for_heads(const AttentionLoops& loops, const AttentionShape& s, int64_t heads, int64_t batch,
               bool backward, const Body& body) {
  at::parallel_for(0, batch * heads, 1, [&](int64_t begin, int64_t end) {
    const Buffer<Bf16> bf16_buffer(loops.bf16_count(s, backward));
    const Buffer<float> float_buffer(loops.float_count(s));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / heads * s.tokens, first = i % heads * s.channels;
      body(HeadOffsets{row * s.qkv_stride + first, row * s.y_stride + first, i * s.tokens},
           bf16_buffer.get(), float_buffer.get());
    }
  });
}

}  // namespace

bool can_attend(const torch::Tensor& qkv, int64_t heads) {
  const int64_t tokens = qkv.size(1), channels = qkv.size(2) / 3 / heads;
  return qkv.is_cpu() && qkv.scalar_type() == torch::kBFloat16 && qkv.numel() > 0 &&
         tokens % kPanel == 0 && channels % kPanel == 0 && tokens <= kMaxTokens && tile_loops() &&
         tile_loops()->attention.forward;
}

AttentionOutputs attention_forward(const AttentionLoops& loops, const torch::Tensor& qkv,
                                   int64_t heads) {
  const AttentionShape s = attention_shape(qkv, heads);
  const AttentionOutputs out{
      torch::empty({qkv.size(0), s.tokens, s.y_stride}, qkv.options()),
      torch::empty({qkv.size(0), heads, s.tokens}, torch::dtype(torch::kFloat))};
  for_heads(loops, s, heads, qkv.size(0), /*backward=*/false,
            [&](const HeadOffsets& head, Bf16* bf16_buffer, float* float_buffer) {
              const Bf16* q = data_of(qkv) + head.qkv;
              loops.forward(s, q, q + s.y_stride, q + 2 * s.y_stride, data_of(out.y) + head.y,
                            out.log_sum_BMN.data_ptr<float>() + head.log_sum, bf16_buffer,
                            float_buffer);
            });
  return out;
}

torch::Tensor attention_backward(const AttentionLoops& loops, const torch::Tensor& qkv,
                                 int64_t heads, const AttentionOutputs& outputs,
                                 const torch::Tensor& dy) {
  const AttentionShape s = attention_shape(qkv, heads);
  const torch::Tensor d_qkv = torch::empty_like(qkv);
  for_heads(loops, s, heads, qkv.size(0), /*backward=*/true,
            [&](const HeadOffsets& head, Bf16* bf16_buffer, float* float_buffer) {
              const Bf16* q = data_of(qkv) + head.qkv;
              Bf16* dq = data_of(d_qkv) + head.qkv;
              loops.backward(s, q, q + s.y_stride, q + 2 * s.y_stride, data_of(outputs.y) + head.y,
                             data_of(dy) + head.y,
                             outputs.log_sum_BMN.data_ptr<float>() + head.log_sum, dq,
                             dq + s.y_stride, dq + 2 * s.y_stride, bf16_buffer, float_buffer);
            });
  return d_qkv;
}

}  // namespace ddpm::kernels::amx
