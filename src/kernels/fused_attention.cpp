#include "fused_attention.h"

#include "amx/attention.h"
#include "autograd_arguments.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

// Attention as an autograd function: saves qkv, y and the rows' log sums; amx/attention.h computes.

namespace ddpm::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class FusedAttention : public torch::autograd::Function<FusedAttention> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& qkv, int64_t heads,
                               int64_t loops) {
    const amx::AttentionOutputs out =
        amx::attention_forward(loops_of<amx::AttentionLoops>(loops), qkv, heads);
    context->save_for_backward({qkv, out.y, out.log_sum_BMN});
    context->saved_data["heads"] = heads;
    context->saved_data["loops"] = loops;
    return out.y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    TORCH_CHECK(!torch::GradMode::is_enabled(), "attention has no second derivative");
    RECORD_FUNCTION("ddpm::attention_backward", {});
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor dy = gradients[0].to(torch::kBFloat16).contiguous();
    const auto& loops = loops_of<amx::AttentionLoops>(context->saved_data["loops"].toInt());
    return {amx::attention_backward(loops, saved[0], context->saved_data["heads"].toInt(),
                                    {saved[1], saved[2]}, dy),
            {},
            {}};
  }
};

}  // namespace

torch::Tensor fused_attention(const amx::AttentionLoops& loops, const torch::Tensor& qkv,
                              int64_t heads) {
  RECORD_FUNCTION("ddpm::attention", std::vector<c10::IValue>({qkv}));
  return FusedAttention::apply(qkv.contiguous(), heads, number_of(loops));
}

}  // namespace ddpm::kernels
