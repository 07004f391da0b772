#include "autograd_arguments.h"
#include "ddpm/base/shape.h"
#include "ddpm/kernels/residual_block.h"
#include "norm_pass.h"

#include <optional>

#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

// GroupNorm as an autograd function: saves x, the parameters and the statistics; norm_pass.h
// computes. Inputs without a kernel are composed of ATen's operations.

namespace ddpm::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class GroupNormFunction : public torch::autograd::Function<GroupNormFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& weight, const torch::Tensor& bias,
                               const std::optional<torch::Tensor>& add_BC,
                               const std::optional<torch::Tensor>& scale_BC,
                               const std::optional<torch::Tensor>& shift_BC, int64_t groups,
                               double eps, bool silu) {
    const torch::Tensor add = tensor_of(add_BC);
    const torch::Tensor scale = tensor_of(scale_BC);
    const torch::Tensor shift = tensor_of(shift_BC);
    const auto [y, statistics] =
        norm_forward({x, {}, {weight, bias, groups, eps, {add, scale, shift}}, silu});
    context->save_for_backward({x, weight, bias, add, scale, shift, statistics.mean,
                                statistics.rstd, statistics.channel_mean});
    context->saved_data["groups"] = groups;
    context->saved_data["eps"] = eps;
    context->saved_data["silu"] = silu;
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    TORCH_CHECK(!torch::GradMode::is_enabled(), "group_norm has no second derivative");
    RECORD_FUNCTION("ddpm::group_norm_backward", {});
    const variable_list saved = context->get_saved_variables();
    const NormPass pass{saved[0],
                        {},
                        {saved[1],
                         saved[2],
                         context->saved_data["groups"].toInt(),
                         context->saved_data["eps"].toDouble(),
                         {saved[3], saved[4], saved[5]}},
                        context->saved_data["silu"].toBool()};
    const NormGradients g = norm_backward(pass, {saved[6], saved[7], saved[8]}, gradients[0]);
    return {g.x, g.weight, g.bias, g.add, g.scale, g.shift, {}, {}, {}};
  }
};

torch::Tensor normalise(const torch::Tensor& x, const torch::Tensor& weight,
                        const torch::Tensor& bias, int64_t groups, double eps, const Modulation& m,
                        bool silu) {
  TORCH_CHECK(groups > 0 && x.size(1) % groups == 0, groups, " groups of ", x.size(1), " channels");
  expect_shape(weight, {x.size(1)}, "weight");
  expect_shape(bias, {x.size(1)}, "bias");
  for (const torch::Tensor& t : {m.add, m.scale, m.shift}) {
    if (t.defined()) expect_shape(t, {x.size(0), x.size(1)}, "modulation");
  }
  RECORD_FUNCTION("ddpm::group_norm", {});
  if (!has_norm_kernel(x)) return composed_group_norm(x, weight, bias, groups, eps, m, silu);
  return GroupNormFunction::apply(x, weight, bias, optional_of(m.add), optional_of(m.scale),
                                  optional_of(m.shift), groups, eps, silu);
}

}  // namespace

torch::Tensor composed_group_norm(const torch::Tensor& x, const torch::Tensor& weight,
                                  const torch::Tensor& bias, int64_t groups, double eps,
                                  const Modulation& m, bool silu) {
  const auto per_pixel = [](const torch::Tensor& t) { return t.unsqueeze(-1).unsqueeze(-1); };
  torch::Tensor h = m.add.defined() ? x + per_pixel(m.add) : x;
  h = at::group_norm(h, groups, weight, bias, eps);
  if (m.scale.defined()) h = h * (1 + per_pixel(m.scale));
  if (m.shift.defined()) h = h + per_pixel(m.shift);
  return silu ? torch::silu(h) : h;
}

torch::Tensor group_norm_silu(const torch::Tensor& x, const torch::Tensor& weight,
                              const torch::Tensor& bias, int64_t groups, double eps,
                              const Modulation& modulation) {
  return normalise(x, weight, bias, groups, eps, modulation, /*silu=*/true);
}

torch::Tensor group_norm(const torch::Tensor& x, const torch::Tensor& weight,
                         const torch::Tensor& bias, int64_t groups, double eps,
                         const Modulation& modulation) {
  return normalise(x, weight, bias, groups, eps, modulation, /*silu=*/false);
}

}  // namespace ddpm::kernels
