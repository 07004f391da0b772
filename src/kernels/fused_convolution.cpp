#include "fused_convolution.h"

#include "amx/conv_backward.h"
#include "amx/conv_forward.h"

#include <array>
#include <utility>

#include <ATen/autocast_mode.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

// Half a residual block as one autograd function. Its tensors are optional in many combinations, so
// the defined ones are passed as a list; FusedConvCall has the flags. The forward pass saves the
// inputs and the norm's statistics only: amx/conv_backward.h computes the values between norm and
// convolution again.

namespace ddpm::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr auto kChannelsLast = torch::MemoryFormat::ChannelsLast;
constexpr int64_t kMaxSumBytes = int64_t{512} << 20;  // all threads' sums of weight gradients

// The tensors of a call in a fixed order; gradients are returned in it.
constexpr size_t kTensorCount = 12;
std::array<torch::Tensor*, kTensorCount> tensors_of(FusedConvInputs& in) {
  Modulation& m = in.norm.modulation;
  return {&in.x,
          &in.skip,
          &in.weight,
          &in.bias,
          &in.residual,
          &in.shortcut_weight,
          &in.shortcut_bias,
          &in.norm.weight,
          &in.norm.bias,
          &m.add,
          &m.scale,
          &m.shift};
}

// What a call has besides its tensors.
struct FusedConvCall : torch::CustomClassHolder {
  const amx::ConvLoops* loops = nullptr;
  int64_t groups = 1;
  double eps = 0.0;
  std::array<bool, kTensorCount> is_defined{};

  FusedConvInputs inputs_from(at::TensorList defined) const {
    FusedConvInputs in;
    in.norm.groups = groups, in.norm.eps = eps;
    const auto tensors = tensors_of(in);
    for (size_t i = 0, next = 0; i < kTensorCount; ++i) {
      if (is_defined[i]) *tensors[i] = defined[next++];
    }
    return in;
  }
};

amx::ConvShape conv_shape(const FusedConvInputs& in) {
  return {in.x.size(0), in.x.size(2), in.x.size(3), in.weight.size(1), in.weight.size(0)};
}

// An output that was not used has an undefined gradient.
torch::Tensor output_gradient(const amx::ConvShape& s, const torch::Tensor& g) {
  if (g.defined()) return g.to(torch::kBFloat16).contiguous(kChannelsLast);
  return torch::zeros({s.batch, s.out, s.height, s.width}, torch::dtype(torch::kBFloat16))
      .contiguous(kChannelsLast);
}

class FusedConvolution : public torch::autograd::Function<FusedConvolution> {
 public:
  // tensors: those of the call that are defined.
  static variable_list forward(AutogradContext* context,
                               const c10::intrusive_ptr<FusedConvCall>& call,
                               at::TensorList tensors) {
    FusedConvInputs in = call->inputs_from(tensors);
    const amx::ConvShape s = conv_shape(in);
    const amx::ConvInput input(s, in.x, in.skip);
    const amx::InputNorm norm(in.x, s, in.norm);
    const amx::ConvOutputs out = amx::conv_forward({*call->loops,
                                                    s,
                                                    input,
                                                    norm,
                                                    {in.weight, in.bias},
                                                    {in.shortcut_weight, in.shortcut_bias},
                                                    in.residual});
    save(context, call, in, norm ? norm.buffers->statistics : GroupNormStatistics{});
    if (out.shortcut.defined()) return {out.y, out.shortcut};
    return {out.y};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    TORCH_CHECK(!torch::GradMode::is_enabled(), "the convolution has no second derivative");
    RECORD_FUNCTION("ddpm::convolution_backward", {});
    const auto call =
        c10::static_intrusive_pointer_cast<FusedConvCall>(context->saved_data["call"].toCapsule());
    const auto [in, statistics] = saved(context, *call);
    const amx::ConvShape s = conv_shape(in);
    const amx::ConvInput input(s, in.x, in.skip);
    const amx::InputNorm norm(in.x, s, in.norm, statistics);
    const bool has_shortcut = in.shortcut_weight.defined();
    const amx::ConvOutputs d_out{output_gradient(s, gradients[0]),
                                 has_shortcut ? output_gradient(s, gradients[1]) : torch::Tensor()};
    amx::InputGradients d_in;
    if (norm || in.skip.defined() || context->needs_input_grad(0)) d_in.x = torch::empty_like(in.x);
    if (in.skip.defined()) d_in.skip = torch::empty_like(in.skip);
    const amx::ConvGradients d_weights = amx::conv_backward(
        {*call->loops, s, input, norm, in.weight, in.shortcut_weight, d_out}, d_in);
    variable_list all{d_in.x,
                      d_in.skip,
                      d_weights.conv.weight,
                      d_weights.conv.bias,
                      d_out.y,
                      d_weights.shortcut.weight,
                      d_weights.shortcut.bias};
    if (norm) {
      const variable_list d_norm =
          norm.buffers->gradients(in.norm.weight, in.norm.bias, in.norm.modulation);
      all.insert(all.end(), d_norm.begin(), d_norm.end());
    }
    all.resize(kTensorCount);
    variable_list results(1);  // the call itself has no gradient
    for (size_t i = 0; i < kTensorCount; ++i) {
      if (call->is_defined[i]) results.push_back(all[i]);
    }
    return results;
  }

 private:
  // The tensors that the backward pass reads, then the norm's statistics.
  static void save(AutogradContext* context, const c10::intrusive_ptr<FusedConvCall>& call,
                   FusedConvInputs in, const GroupNormStatistics& statistics) {
    in.bias = in.residual = in.shortcut_bias = torch::Tensor();
    variable_list kept;
    for (const torch::Tensor* t : tensors_of(in)) kept.push_back(*t);
    kept.insert(kept.end(), {statistics.mean, statistics.rstd, statistics.channel_mean});
    context->save_for_backward(std::move(kept));
    context->saved_data["call"] = c10::IValue::make_capsule(call);
  }
  static std::pair<FusedConvInputs, GroupNormStatistics> saved(AutogradContext* context,
                                                               const FusedConvCall& call) {
    const variable_list kept = context->get_saved_variables();
    FusedConvInputs in;
    in.norm.groups = call.groups, in.norm.eps = call.eps;
    const auto tensors = tensors_of(in);
    for (size_t i = 0; i < kTensorCount; ++i) *tensors[i] = kept[i];
    return {in, {kept[kTensorCount], kept[kTensorCount + 1], kept[kTensorCount + 2]}};
  }
};

}  // namespace

bool can_fuse_conv3x3(const torch::Tensor& x, const torch::Tensor& weight,
                      const torch::Tensor& bias) {
  const auto is_float_on_cpu = [](const torch::Tensor& t) {
    return t.is_cpu() && t.scalar_type() == torch::kFloat;
  };
  if (!x.is_cpu() || !is_float_on_cpu(weight) || !is_float_on_cpu(bias) || x.numel() == 0 ||
      !at::autocast::is_autocast_enabled(torch::kCPU) ||
      at::autocast::get_autocast_dtype(torch::kCPU) != torch::kBFloat16 || !amx::tile_loops()) {
    return false;
  }
  const int64_t in = weight.size(1), out = weight.size(0);
  return in % amx::kPanel == 0 && out % amx::kPanel == 0 &&
         at::get_num_threads() * 9 * in * out * int64_t{sizeof(float)} <= kMaxSumBytes;
}

FusedConvOutputs fused_conv3x3(const amx::ConvLoops& loops, const FusedConvInputs& in) {
  // The shortcut's operations are counted as a convolution's, but its time is part of the next.
  if (in.shortcut_weight.defined()) {
    RECORD_FUNCTION("ddpm::convolution", std::vector<c10::IValue>({in.x, in.shortcut_weight}));
  }
  RECORD_FUNCTION("ddpm::convolution", std::vector<c10::IValue>({in.x, in.weight}));
  const auto to_bf16 = [](const torch::Tensor& t) {
    return t.defined() ? t.to(torch::kBFloat16).contiguous(kChannelsLast) : t;
  };
  FusedConvInputs converted = in;
  converted.residual = to_bf16(in.residual);
  converted.skip = to_bf16(in.skip);
  converted.x = to_bf16(in.x);
  const auto call = c10::make_intrusive<FusedConvCall>();
  call->loops = &loops;
  call->groups = in.norm.groups;
  call->eps = in.norm.eps;
  variable_list defined;
  const auto tensors = tensors_of(converted);
  for (size_t i = 0; i < kTensorCount; ++i) {
    call->is_defined[i] = tensors[i]->defined();
    if (call->is_defined[i]) defined.push_back(*tensors[i]);
  }
  const variable_list out = FusedConvolution::apply(call, at::TensorList(defined));
  return {out[0], out.size() > 1 ? out[1] : torch::Tensor()};
}

}  // namespace ddpm::kernels
