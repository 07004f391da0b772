#include "ddpm/kernels/group_norm.h"

#include "autograd_arguments.h"
#include "cpu/group_norm.h"
#include "cuda/kernels.h"
#include "ddpm/base/shape.h"
#include "group_norm_buffers.h"

#include <optional>

#include <ATen/record_function.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/custom_function.h>

// GroupNorm as an autograd function: saves x, the parameters and the statistics; cpu/group_norm.h
// and cuda/kernels.h compute. Inputs without a kernel are composed of ATen's operations.

namespace ddpm::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Element element_of(const torch::Tensor& x) {
  switch (x.scalar_type()) {
    case torch::kDouble:
      return Element::kDouble;
    case torch::kBFloat16:
      return Element::kBFloat16;
    case torch::kHalf:
      return Element::kFloat16;
    default:
      return Element::kFloat;
  }
}

bool has_kernel(const torch::Tensor& x) {
  if (x.dim() != 4 || x.numel() == 0 || !x.is_contiguous(torch::MemoryFormat::ChannelsLast))
    return false;
  const auto type = x.scalar_type();
  const bool common = type == torch::kFloat || type == torch::kDouble || type == torch::kBFloat16;
  if (x.is_cpu()) return common;
  return x.is_cuda() && cuda::cuda_kernels() && (common || type == torch::kHalf);
}

// Calls on_cpu(args) or on_cuda(kernels, args, stream), with args of the type of x's sums.
template <class OnCpu, class OnCuda>
void dispatch(const torch::Tensor& x, const GroupNormBuffers& buffers, const OnCpu& on_cpu,
              const OnCuda& on_cuda) {
  const auto call = [&]<class A>(const GroupNormArgs<A>& args) {
    if (x.is_cpu()) return on_cpu(args);
    // A stream accepts work only while its device is the current one.
    const c10::DeviceGuard on(x.device());
    const c10::impl::VirtualGuardImpl guard(x.device().type());
    on_cuda(cuda::cuda_kernels()->group_norm<A>(), args,
            guard.getStreamNativeHandle(guard.getStream(x.device())));
  };
  if (x.scalar_type() == torch::kDouble) {
    call(buffers.args<double>());
  } else {
    call(buffers.args<float>());
  }
}

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
    const GroupNormShape s = group_norm_shape(x, x.size(1), groups, eps, silu);
    GroupNormBuffers buffers(x, s, weight, bias, {add, scale, shift});
    buffers.allocate_statistics(s);
    torch::Tensor y = torch::empty_like(x);
    const Element element = element_of(x);
    dispatch(
        x, buffers,
        [&](const auto& args) {
          cpu::group_norm_forward(s, element, x.data_ptr(), y.data_ptr(), args);
        },
        [&](const auto& kernels, const auto& args, void* stream) {
          kernels.forward(s, element, x.data_ptr(), y.data_ptr(), args, stream);
        });
    const GroupNormStatistics& statistics = buffers.statistics;
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
    const torch::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2];
    const Modulation modulation{saved[3], saved[4], saved[5]};
    const GroupNormShape s = group_norm_shape(x, x.size(1), context->saved_data["groups"].toInt(),
                                              context->saved_data["eps"].toDouble(),
                                              context->saved_data["silu"].toBool());
    const torch::Tensor dy =
        gradients[0].to(x.scalar_type()).contiguous(torch::MemoryFormat::ChannelsLast);
    GroupNormBuffers buffers(x, s, weight, bias, modulation);
    buffers.statistics = {saved[6], saved[7], saved[8]};
    buffers.allocate_gradients(s);
    torch::Tensor dx = torch::empty_like(x);
    const Element element = element_of(x);
    dispatch(
        x, buffers,
        [&](const auto& args) {
          cpu::group_norm_backward(s, element, x.data_ptr(), dy.data_ptr(), dx.data_ptr(), args);
        },
        [&](const auto& kernels, const auto& args, void* stream) {
          kernels.backward(s, element, x.data_ptr(), dy.data_ptr(), dx.data_ptr(), args, stream);
        });
    const variable_list g = buffers.gradients(weight, bias, modulation);
    return {dx, g[0], g[1], g[2], g[3], g[4], {}, {}, {}};
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
  if (!has_kernel(x)) return composed_group_norm(x, weight, bias, groups, eps, m, silu);
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
