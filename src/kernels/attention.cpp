#include "ddpm/kernels/attention.h"

#include "amx/attention.h"
#include "autograd_arguments.h"
#include "cpu/buffer.h"

#include <cmath>

#include <ATen/Parallel.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

namespace ddpm::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kMostTokens = 1024;  // a head's weights must stay in the cache

// Axes: B batch, N tokens, M heads, D channels a head.

class TileAttention : public torch::autograd::Function<TileAttention> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& qkv, int64_t heads,
                               int64_t loops) {
    const AttentionShape s = shape_of(qkv, heads);
    const TileAttentionLoops& l = loops_of<TileAttentionLoops>(loops);
    const torch::Tensor y = torch::empty({qkv.size(0), s.tokens, s.y_stride}, qkv.options());
    const torch::Tensor log_sum_BMN =
        torch::empty({qkv.size(0), heads, s.tokens}, torch::dtype(torch::kFloat));
    const auto one = [&](const Head& head, Bf16* halves, float* floats) {
      const Bf16* q = data_of(qkv) + head.qkv;
      l.forward(s, q, q + s.y_stride, q + 2 * s.y_stride, data_of(y) + head.y,
                log_sum_BMN.data_ptr<float>() + head.log_sum, halves, floats);
    };
    for_heads(l, s, heads, qkv.size(0), false, one);
    context->save_for_backward({qkv, y, log_sum_BMN});
    context->saved_data["heads"] = heads;
    context->saved_data["loops"] = loops;
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    TORCH_CHECK(!torch::GradMode::is_enabled(), "attention has no second derivative");
    RECORD_FUNCTION("ddpm::attention_backward", {});
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &qkv = saved[0], &y = saved[1], &log_sum_BMN = saved[2];
    const torch::Tensor dy = gradients[0].to(torch::kBFloat16).contiguous();
    const int64_t heads = context->saved_data["heads"].toInt();
    const TileAttentionLoops& l =
        loops_of<TileAttentionLoops>(context->saved_data["loops"].toInt());
    const AttentionShape s = shape_of(qkv, heads);
    const torch::Tensor d_qkv = torch::empty_like(qkv);
    const auto one = [&](const Head& head, Bf16* halves, float* floats) {
      const Bf16* q = data_of(qkv) + head.qkv;
      Bf16* dq = data_of(d_qkv) + head.qkv;
      l.backward(s, q, q + s.y_stride, q + 2 * s.y_stride, data_of(y) + head.y,
                 data_of(dy) + head.y, log_sum_BMN.data_ptr<float>() + head.log_sum, dq,
                 dq + s.y_stride, dq + 2 * s.y_stride, halves, floats);
    };
    for_heads(l, s, heads, qkv.size(0), true, one);
    return {d_qkv, {}, {}};
  }

 private:
  // Where a head of an image begins.
  struct Head {
    int64_t qkv, y, log_sum;
  };

  static AttentionShape shape_of(const torch::Tensor& qkv, int64_t heads) {
    const int64_t all = qkv.size(2) / 3, channels = all / heads;
    return {qkv.size(1), channels, 3 * all, all,
            static_cast<float>(1.0 / std::sqrt(static_cast<double>(channels)))};
  }
  template <class Body>
  static void for_heads(const TileAttentionLoops& loops, const AttentionShape& s, int64_t heads,
                        int64_t batch, bool backward, const Body& body) {
    at::parallel_for(0, batch * heads, 1, [&](int64_t begin, int64_t end) {
      const Space<Bf16> halves(loops.halves(s, backward));
      const Space<float> floats(loops.floats(s));
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = i / heads * s.tokens, first = i % heads * s.channels;
        body({row * s.stride + first, row * s.y_stride + first, i * s.tokens}, halves.get(),
             floats.get());
      }
    });
  }
};

bool has_tiles_for(const torch::Tensor& qkv, int64_t heads) {
  const int64_t tokens = qkv.size(1), channels = qkv.size(2) / 3 / heads;
  return qkv.is_cpu() && qkv.scalar_type() == torch::kBFloat16 && qkv.numel() > 0 &&
         tokens % kPanel == 0 && channels % kPanel == 0 && tokens <= kMostTokens && tile_loops();
}

}  // namespace

torch::Tensor tile_attention(const TileAttentionLoops& loops, const torch::Tensor& qkv,
                             int64_t heads) {
  RECORD_FUNCTION("ddpm::attention", std::vector<c10::IValue>({qkv}));
  return TileAttention::apply(qkv.contiguous(), heads, number_of(loops));
}

torch::Tensor attention(const torch::Tensor& qkv, int64_t heads) {
  TORCH_CHECK(qkv.dim() == 3 && heads > 0 && qkv.size(2) % (3 * heads) == 0, heads,
              " heads of q, k and v in ", qkv.sizes());
  if (has_tiles_for(qkv, heads)) return tile_attention(tile_loops()->attention, qkv, heads);
  const int64_t batch = qkv.size(0), tokens = qkv.size(1), channels = qkv.size(2) / 3;
  const auto part = [&](int64_t i) {
    return qkv.narrow(2, i * channels, channels)
        .unflatten(2, {heads, channels / heads})
        .transpose(1, 2);
  };
  const torch::Tensor y_BMND = at::scaled_dot_product_attention(part(0), part(1), part(2));
  return y_BMND.transpose(1, 2).reshape({batch, tokens, channels});
}

}  // namespace ddpm::kernels
