#include "ddpm/kernels/convolution.h"

#include "autocast.h"
#include "channel_operations.h"
#include "cpu/winograd.h"
#include "fused_convolution.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

// Chooses between our convolutions and ATen's: in bfloat16 fused_convolution.h, in float32
// Winograd's; on a GPU ATen's without the bias. The autograd functions save x and weight.

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

class GpuConvolution : public torch::autograd::Function<GpuConvolution> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& weight, const torch::Tensor& bias,
                               int64_t stride, int64_t padding) {
    context->save_for_backward({x, weight});
    context->saved_data["stride"] = stride;
    context->saved_data["padding"] = padding;
    context->saved_data["type"] = static_cast<int64_t>(bias.scalar_type());
    const torch::Tensor y =
        at::conv2d(x, weight, {}, stride, padding).contiguous(torch::MemoryFormat::ChannelsLast);
    add_bias_residual_(y, bias, {});
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    TORCH_CHECK(!torch::GradMode::is_enabled(), "the convolution has no second derivative");
    const variable_list saved = context->get_saved_variables();
    const int64_t stride = context->saved_data["stride"].toInt();
    const int64_t padding = context->saved_data["padding"].toInt();
    const torch::Tensor dy = gradients[0].contiguous(torch::MemoryFormat::ChannelsLast);
    variable_list results(5);
    const auto [dx, d_weight, none] = at::convolution_backward(
        dy, saved[0], saved[1], std::nullopt, {stride, stride}, {padding, padding}, {1, 1}, false,
        {0, 0}, 1, {context->needs_input_grad(0), context->needs_input_grad(1), false});
    results[0] = dx, results[1] = d_weight;
    if (context->needs_input_grad(2))
      results[2] =
          channel_sums(dy).to(static_cast<torch::Dtype>(context->saved_data["type"].toInt()));
    return results;
  }
};

}  // namespace

torch::Tensor convolution(const torch::Tensor& x, const torch::Tensor& weight,
                          const torch::Tensor& bias, int64_t stride, int64_t padding) {
  if (!x.is_cuda()) return at::conv2d(x, weight, bias, stride, padding);
  return GpuConvolution::apply(in_autocast(x), in_autocast(weight), bias, stride, padding);
}

torch::Tensor conv3x3(const torch::Tensor& x, const torch::Tensor& weight,
                      const torch::Tensor& bias) {
  TORCH_CHECK(x.dim() == 4 && weight.dim() == 4 && weight.size(1) == x.size(1) &&
                  weight.size(2) == 3 && weight.size(3) == 3 && bias.dim() == 1 &&
                  bias.size(0) == weight.size(0),
              "x [B,C,H,W], weight [O,C,3,3] and bias [O] do not go together");
  if (x.is_cuda()) return convolution(x, weight, bias, 1, 1);
  if (can_fuse_conv3x3(x, weight, bias)) {
    return fused_conv3x3(amx::tile_loops()->convolution, {.x = x, .weight = weight, .bias = bias})
        .y;
  }
  if (!cpu::can_use_winograd(x, weight, bias)) return at::conv2d(x, weight, bias, 1, 1);
  RECORD_FUNCTION("ddpm::convolution", std::vector<c10::IValue>({x, weight}));
  return WinogradFunction::apply(x, weight, bias);
}

}  // namespace ddpm::kernels
