#include "ddpm/kernels/convolution.h"

#include "cpu/winograd.h"
#include "fused_convolution.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

// Chooses between our convolutions and ATen's: on AMX tiles in bfloat16 (fused_convolution.h), by
// Winograd in float32. The latter's autograd function saves x and weight.

namespace ddpm::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class WinogradFunction : public torch::autograd::Function<WinogradFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& weight, const torch::Tensor& bias) {
    context->save_for_backward({x, weight});
    return cpu::winograd_forward(x, weight, bias);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    TORCH_CHECK(!torch::GradMode::is_enabled(), "conv3x3 has no second derivative");
    RECORD_FUNCTION("ddpm::convolution_backward", {});
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &x = saved[0], &weight = saved[1];
    const torch::Tensor dy = gradients[0].contiguous(torch::MemoryFormat::ChannelsLast);
    variable_list results(3);
    if (context->needs_input_grad(0)) results[0] = cpu::winograd_input_gradient(dy, weight);
    if (context->needs_input_grad(1)) results[1] = cpu::winograd_weight_gradient(x, dy, weight);
    if (context->needs_input_grad(2)) results[2] = dy.sum({0, 2, 3});
    return results;
  }
};

}  // namespace

torch::Tensor conv3x3(const torch::Tensor& x, const torch::Tensor& weight,
                      const torch::Tensor& bias) {
  TORCH_CHECK(x.dim() == 4 && weight.dim() == 4 && weight.size(1) == x.size(1) &&
                  weight.size(2) == 3 && weight.size(3) == 3 && bias.dim() == 1 &&
                  bias.size(0) == weight.size(0),
              "x [B,C,H,W], weight [O,C,3,3] and bias [O] do not go together");
  if (can_fuse_conv3x3(x, weight, bias)) {
    return fused_conv3x3(amx::tile_loops()->convolution, {.x = x, .weight = weight, .bias = bias})
        .y;
  }
  if (!cpu::can_use_winograd(x, weight, bias)) return at::conv2d(x, weight, bias, 1, 1);
  RECORD_FUNCTION("ddpm::convolution", std::vector<c10::IValue>({x, weight}));
  return WinogradFunction::apply(x, weight, bias);
}

}  // namespace ddpm::kernels
