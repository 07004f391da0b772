#include "autocast.h"
#include "channel_operations.h"
#include "ddpm/kernels/attention.h"

#include <torch/csrc/autograd/custom_function.h>

namespace ddpm::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// y as an image of one row, for add_bias_residual_.
torch::Tensor as_image(const torch::Tensor& y) {
  return y.reshape({1, 1, -1, y.size(-1)}).permute({0, 3, 1, 2});
}

// The product in the type of x, then bias and residual in one pass.
class GpuLinear : public torch::autograd::Function<GpuLinear> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& weight, const torch::Tensor& bias,
                               const torch::Tensor& residual) {
    context->save_for_backward({x, weight});
    context->saved_data["type"] = static_cast<int64_t>(bias.scalar_type());
    context->saved_data["residual"] = static_cast<int64_t>(residual.scalar_type());
    const torch::Tensor y = at::linear(x, weight);
    add_bias_residual_(as_image(y), bias, as_image(residual.to(y.scalar_type()).contiguous()));
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    TORCH_CHECK(!torch::GradMode::is_enabled(), "linear has no second derivative");
    const auto type = [&](const char* of) {
      return static_cast<torch::Dtype>(context->saved_data[of].toInt());
    };
    const variable_list saved = context->get_saved_variables();
    variable_list results = linear_gradients(context, saved[0], saved[1], gradients[0]);
    results.resize(4);
    results[2] = results[2].to(type("type"));
    results[3] = gradients[0].to(type("residual"));
    return results;
  }

  static variable_list linear_gradients(AutogradContext* context, const torch::Tensor& x,
                                        const torch::Tensor& weight,
                                        const torch::Tensor& gradient) {
    const torch::Tensor dy = gradient.contiguous().view({-1, weight.size(0)});
    variable_list results(3);
    if (context->needs_input_grad(0)) results[0] = dy.mm(weight).view(x.sizes());
    if (context->needs_input_grad(1)) results[1] = dy.t().mm(x.reshape({-1, x.size(-1)}));
    results[2] = row_sums(dy.unsqueeze(0))[0];
    return results;
  }
};

// Without a residual the product adds the bias itself.
class GpuAffine : public torch::autograd::Function<GpuAffine> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& weight, const torch::Tensor& bias) {
    context->save_for_backward({x, weight});
    context->saved_data["type"] = static_cast<int64_t>(bias.scalar_type());
    return at::linear(x, weight, bias.to(x.scalar_type()));
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    TORCH_CHECK(!torch::GradMode::is_enabled(), "linear has no second derivative");
    const variable_list saved = context->get_saved_variables();
    variable_list results = GpuLinear::linear_gradients(context, saved[0], saved[1], gradients[0]);
    results[2] = results[2].to(static_cast<torch::Dtype>(context->saved_data["type"].toInt()));
    return results;
  }
};

}  // namespace

torch::Tensor linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                     const torch::Tensor& residual) {
  if (!x.is_cuda()) {
    const torch::Tensor y = at::linear(x, weight, bias);
    return residual.defined() ? residual + y : y;
  }
  const torch::Tensor input = in_autocast(x), product = in_autocast(weight);
  if (!residual.defined()) return GpuAffine::apply(input, product, bias);
  return GpuLinear::apply(input, product, bias, residual);
}

}  // namespace ddpm::kernels
