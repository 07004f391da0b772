#include "ddpm/kernels/group_norm.h"

#include "ddpm/base/shape.h"
#include "group_norm_device.h"
#include "random_device.h"  // cuda::available

#include <algorithm>
#include <optional>

#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/custom_function.h>

namespace ddpm::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Pixels a tile: on the CPU some 16 KiB, and at most 256 tiles an image; on CUDA at most 32 tiles,
// which one thread merges.
int64_t tile_size(const torch::Device& device, int64_t pixels, int64_t channels) {
  const bool cpu = device.is_cpu();
  const int64_t most = cpu ? 256 : 32;
  const int64_t least = std::max<int64_t>(1, (cpu ? 4096 : 8192) / channels);
  return std::max(least, (pixels + most - 1) / most);
}

GroupNormShape shape_of(const torch::Tensor& x, int64_t groups, double eps, bool silu) {
  const int64_t channels = x.size(1), pixels = x.size(2) * x.size(3);
  return {x.size(0), pixels, channels, groups, tile_size(x.device(), pixels, channels), eps, silu};
}

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
  return x.is_cpu() ? common : x.is_cuda() && cuda::available() && (common || type == torch::kHalf);
}

// The tensors that GroupNormArgs points into.
struct Buffers {
  torch::Tensor weight, bias, add, scale, shift;
  torch::Tensor mean, rstd, channel_mean;
  torch::Tensor partial, coefficients;
  torch::Tensor d_weight, d_bias, d_add, d_scale, d_shift;

  Buffers(const torch::Tensor& x, const GroupNormShape& s, const torch::Tensor& weight_C,
          const torch::Tensor& bias_C, const Modulation& m) {
    const auto type = sum_type(x);
    const auto plain = [&](const torch::Tensor& t) {
      return t.defined() ? t.to(type).contiguous() : t;
    };
    weight = plain(weight_C), bias = plain(bias_C);
    add = plain(m.add), scale = plain(m.scale), shift = plain(m.shift);
    const auto doubles = x.options().dtype(torch::kDouble);
    partial = torch::empty({s.batch, s.tiles(), s.channels, 2}, doubles);
    coefficients = torch::empty({s.batch, 5, s.channels}, doubles.dtype(type));
  }

  static torch::ScalarType sum_type(const torch::Tensor& x) {
    return x.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
  }

  template <class A>
  GroupNormArgs<A> args() const {
    const auto at = [](const torch::Tensor& t) { return t.defined() ? t.data_ptr<A>() : nullptr; };
    return {at(weight),
            at(bias),
            at(add),
            at(scale),
            at(shift),
            mean.data_ptr<double>(),
            rstd.data_ptr<double>(),
            channel_mean.data_ptr<double>(),
            partial.data_ptr<double>(),
            at(coefficients),
            at(d_weight),
            at(d_bias),
            at(d_add),
            at(d_scale),
            at(d_shift)};
  }
};

// Calls on_cpu(args) or on_cuda(args, stream) with the arguments in the type of x's sums.
template <class OnCpu, class OnCuda>
void dispatch(const torch::Tensor& x, const Buffers& buffers, const OnCpu& on_cpu,
              const OnCuda& on_cuda) {
  const auto run = [&](const auto& args) {
    if (x.is_cpu()) return on_cpu(args);
    const c10::impl::VirtualGuardImpl guard(x.device().type());
    on_cuda(args, guard.getStreamNativeHandle(guard.getStream(x.device())));
  };
  if (x.scalar_type() == torch::kDouble) {
    run(buffers.args<double>());
  } else {
    run(buffers.args<float>());
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
    const torch::Tensor add = add_BC.value_or(torch::Tensor());
    const torch::Tensor scale = scale_BC.value_or(torch::Tensor());
    const torch::Tensor shift = shift_BC.value_or(torch::Tensor());
    const GroupNormShape s = shape_of(x, groups, eps, silu);
    Buffers buffers(x, s, weight, bias, {add, scale, shift});
    const auto doubles = buffers.partial.options();
    buffers.mean = torch::empty({s.batch, s.groups}, doubles);
    buffers.rstd = torch::empty({s.batch, s.groups}, doubles);
    buffers.channel_mean = torch::empty({s.batch, s.channels}, doubles);
    torch::Tensor y = torch::empty_like(x);
    const Element element = element_of(x);
    dispatch(
        x, buffers,
        [&](const auto& args) {
          cpu::group_norm_forward(s, element, x.data_ptr(), y.data_ptr(), args);
        },
        [&](const auto& args, void* stream) {
          cuda::group_norm_forward(s, element, x.data_ptr(), y.data_ptr(), args, stream);
        });
    context->save_for_backward(
        {x, weight, bias, add, scale, shift, buffers.mean, buffers.rstd, buffers.channel_mean});
    context->saved_data["groups"] = groups;
    context->saved_data["eps"] = eps;
    context->saved_data["silu"] = silu;
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    TORCH_CHECK(!torch::GradMode::is_enabled(), "group_norm has no second derivative");
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2];
    const Modulation modulation{saved[3], saved[4], saved[5]};
    const GroupNormShape s =
        shape_of(x, context->saved_data["groups"].toInt(), context->saved_data["eps"].toDouble(),
                 context->saved_data["silu"].toBool());
    const torch::Tensor dy =
        gradients[0].to(x.scalar_type()).contiguous(torch::MemoryFormat::ChannelsLast);
    Buffers buffers(x, s, weight, bias, modulation);
    buffers.mean = saved[6], buffers.rstd = saved[7], buffers.channel_mean = saved[8];
    const auto a_number_a_channel = [&](bool wanted) {
      return wanted ? torch::empty({s.batch, s.channels}, buffers.coefficients.options())
                    : torch::Tensor();
    };
    buffers.d_weight = a_number_a_channel(true);
    buffers.d_bias = a_number_a_channel(true);
    buffers.d_add = a_number_a_channel(modulation.add.defined());
    buffers.d_scale = a_number_a_channel(modulation.scale.defined());
    buffers.d_shift = a_number_a_channel(modulation.shift.defined());
    torch::Tensor dx = torch::empty_like(x);
    const Element element = element_of(x);
    dispatch(
        x, buffers,
        [&](const auto& args) {
          cpu::group_norm_backward(s, element, x.data_ptr(), dy.data_ptr(), dx.data_ptr(), args);
        },
        [&](const auto& args, void* stream) {
          cuda::group_norm_backward(s, element, x.data_ptr(), dy.data_ptr(), dx.data_ptr(), args,
                                    stream);
        });
    const auto in_type_of = [](const torch::Tensor& gradient, const torch::Tensor& of) {
      return of.defined() ? gradient.to(of.scalar_type()) : torch::Tensor();
    };
    return {dx,
            in_type_of(buffers.d_weight.sum(0), weight),
            in_type_of(buffers.d_bias.sum(0), bias),
            in_type_of(buffers.d_add, modulation.add),
            in_type_of(buffers.d_scale, modulation.scale),
            in_type_of(buffers.d_shift, modulation.shift),
            {},
            {},
            {}};
  }
};

torch::Tensor run(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                  int64_t groups, double eps, const Modulation& m, bool silu) {
  TORCH_CHECK(groups > 0 && x.size(1) % groups == 0, groups, " groups of ", x.size(1), " channels");
  expect_shape(weight, {x.size(1)}, "weight");
  expect_shape(bias, {x.size(1)}, "bias");
  for (const torch::Tensor& t : {m.add, m.scale, m.shift}) {
    if (t.defined()) expect_shape(t, {x.size(0), x.size(1)}, "modulation");
  }
  if (!has_kernel(x)) return composed_group_norm(x, weight, bias, groups, eps, m, silu);
  const auto optional = [](const torch::Tensor& t) {
    return t.defined() ? std::optional(t) : std::nullopt;
  };
  return GroupNormFunction::apply(x, weight, bias, optional(m.add), optional(m.scale),
                                  optional(m.shift), groups, eps, silu);
}

}  // namespace

torch::Tensor composed_group_norm(const torch::Tensor& x, const torch::Tensor& weight,
                                  const torch::Tensor& bias, int64_t groups, double eps,
                                  const Modulation& m, bool silu) {
  const auto map = [](const torch::Tensor& t) { return t.unsqueeze(-1).unsqueeze(-1); };
  torch::Tensor h = m.add.defined() ? x + map(m.add) : x;
  h = at::group_norm(h, groups, weight, bias, eps);
  if (m.scale.defined()) h = h * (1 + map(m.scale));
  if (m.shift.defined()) h = h + map(m.shift);
  return silu ? torch::silu(h) : h;
}

torch::Tensor group_norm_silu(const torch::Tensor& x, const torch::Tensor& weight,
                              const torch::Tensor& bias, int64_t groups, double eps,
                              const Modulation& modulation) {
  return run(x, weight, bias, groups, eps, modulation, /*silu=*/true);
}

torch::Tensor group_norm(const torch::Tensor& x, const torch::Tensor& weight,
                         const torch::Tensor& bias, int64_t groups, double eps,
                         const Modulation& modulation) {
  return run(x, weight, bias, groups, eps, modulation, /*silu=*/false);
}

}  // namespace ddpm::kernels
