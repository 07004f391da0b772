#include "channel_operations.h"
#include "cuda/kernels.h"
#include "ddpm/kernels/convolution.h"
#include "device_call.h"

#include <algorithm>

#include <torch/csrc/autograd/custom_function.h>

// The thin side is x of a first convolution and y of a last one. A weight [O,C,3,3] is given to the
// kernels as [9, thin, wide]. The gradient of x is the same convolution the other way, with the taps
// in reverse order.

namespace ddpm::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kMaxWidth = 256;  // three rows of 8 channels are 25 KiB of shared memory

bool is_thin_input(const torch::Tensor& weight) { return weight.size(1) <= weight.size(0); }

bool has_thin_kernel(const torch::Tensor& x, const torch::Tensor& weight,
                     const torch::Tensor& bias) {
  const auto ready = [](const torch::Tensor& t) {
    return t.is_cuda() && (t.scalar_type() == torch::kFloat || t.scalar_type() == torch::kBFloat16);
  };
  const auto [thin, wide] = std::minmax({weight.size(0), weight.size(1)});
  return cuda::cuda_kernels() && ready(x) && weight.scalar_type() == torch::kFloat &&
         bias.scalar_type() == torch::kFloat && x.numel() > 0 && thin <= cuda::kMaxThinChannels &&
         wide % 2 == 0 && x.size(3) <= kMaxWidth;
}

cuda::ThinConvShape thin_shape(const torch::Tensor& x, const torch::Tensor& weight) {
  const auto [thin, wide] = std::minmax({weight.size(0), weight.size(1)});
  return {x.size(0), x.size(2), x.size(3), thin, wide};
}

// [9, thin, wide]; reversed: for the gradient of x.
torch::Tensor taps_of(const torch::Tensor& weight, bool thin_input, bool reversed) {
  torch::Tensor taps = weight.flatten(2);  // [O, C, 9]
  if (reversed) taps = taps.flip({2});
  return taps.permute(thin_input ? at::IntArrayRef{2, 1, 0} : at::IntArrayRef{2, 0, 1})
      .contiguous();
}

torch::Tensor to_wide(const cuda::ThinConvShape& s, const torch::Tensor& thin,
                      const torch::Tensor& taps, const torch::Tensor& bias, torch::Dtype type) {
  torch::Tensor wide =
      torch::empty({s.batch, s.wide, s.height, s.width},
                   thin.options().dtype(type).memory_format(torch::MemoryFormat::ChannelsLast));
  on_stream(thin, [&](void* stream) {
    cuda::cuda_kernels()->thin_to_wide(s, element_of(thin), thin.const_data_ptr(),
                                       taps.const_data_ptr<float>(),
                                       bias.defined() ? bias.const_data_ptr<float>() : nullptr,
                                       element_of(wide), wide.data_ptr(), stream);
  });
  return wide;
}

torch::Tensor to_thin(const cuda::ThinConvShape& s, const torch::Tensor& wide,
                      const torch::Tensor& taps, const torch::Tensor& bias) {
  torch::Tensor thin = torch::empty(
      {s.batch, s.thin, s.height, s.width},
      wide.options().dtype(torch::kFloat).memory_format(torch::MemoryFormat::ChannelsLast));
  on_stream(wide, [&](void* stream) {
    cuda::cuda_kernels()->wide_to_thin(
        s, element_of(wide), wide.const_data_ptr(), taps.const_data_ptr<float>(),
        bias.defined() ? bias.const_data_ptr<float>() : nullptr, thin.data_ptr<float>(), stream);
  });
  return thin;
}

// The weight's gradient, [O,C,3,3]. thin is y's gradient if the input is wide: its taps are
// reversed.
torch::Tensor products(const cuda::ThinConvShape& s, const torch::Tensor& thin,
                       const torch::Tensor& wide, bool thin_input) {
  const int64_t parts = cuda::thin_conv_parts(s);
  const torch::Tensor partial =
      torch::empty({1, parts, 9 * s.thin * s.wide}, thin.options().dtype(torch::kFloat));
  on_stream(thin, [&](void* stream) {
    cuda::cuda_kernels()->thin_wide_products(s, element_of(thin), thin.const_data_ptr(),
                                             element_of(wide), wide.const_data_ptr(),
                                             partial.data_ptr<float>(), stream);
  });
  const torch::Tensor taps = row_sums(partial).view({9, s.thin, s.wide});
  const torch::Tensor in_order =
      thin_input ? taps.permute({2, 1, 0}) : taps.flip({0}).permute({1, 2, 0});
  return in_order.unflatten(2, {3, 3}).contiguous(torch::MemoryFormat::ChannelsLast);
}

class ThinConvolution : public torch::autograd::Function<ThinConvolution> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& weight, const torch::Tensor& bias,
                               int64_t type) {
    const torch::Tensor x = input.contiguous(torch::MemoryFormat::ChannelsLast);
    context->save_for_backward({x, weight});
    const cuda::ThinConvShape s = thin_shape(x, weight);
    const bool thin_input = is_thin_input(weight);
    const torch::Tensor taps = taps_of(weight, thin_input, /*reversed=*/false);
    if (thin_input) return to_wide(s, x, taps, bias, static_cast<torch::Dtype>(type));
    return to_thin(s, x, taps, bias).to(static_cast<torch::Dtype>(type));
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    TORCH_CHECK(!torch::GradMode::is_enabled(), "the convolution has no second derivative");
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &x = saved[0], &weight = saved[1];
    const cuda::ThinConvShape s = thin_shape(x, weight);
    const bool thin_input = is_thin_input(weight);
    const torch::Tensor dy = gradients[0].contiguous(torch::MemoryFormat::ChannelsLast);
    variable_list results(4);
    if (context->needs_input_grad(0)) {
      const torch::Tensor taps = taps_of(weight, thin_input, /*reversed=*/true);
      results[0] = thin_input ? to_thin(s, dy, taps, {}).to(x.scalar_type())
                              : to_wide(s, dy, taps, {}, x.scalar_type());
    }
    results[1] = thin_input ? products(s, x, dy, true) : products(s, dy, x, false);
    results[2] = channel_sums(dy);
    return results;
  }
};

}  // namespace

torch::Tensor thin_convolution(const torch::Tensor& x, const torch::Tensor& weight,
                               const torch::Tensor& bias, torch::Dtype type) {
  if (has_thin_kernel(x, weight, bias))
    return ThinConvolution::apply(x, weight, bias, static_cast<int64_t>(type));
  return convolution(x.to(weight.scalar_type()), weight, bias, 1, 1)
      .contiguous(torch::MemoryFormat::ChannelsLast)
      .to(type);
}

}  // namespace ddpm::kernels
