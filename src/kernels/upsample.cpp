#include "cuda/kernels.h"
#include "ddpm/kernels/convolution.h"
#include "device_call.h"

#include <ATen/ops/upsample_nearest2d.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/custom_function.h>

namespace ddpm::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

bool has_upsample_kernel(const torch::Tensor& x) {
  return x.is_cuda() && cuda::cuda_kernels() && x.scalar_type() != torch::kDouble &&
         x.numel() > 0 && x.is_contiguous(torch::MemoryFormat::ChannelsLast) &&
         x.size(1) * x.element_size() % 16 == 0 &&
         reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 16 == 0;
}

class GpuUpsample : public torch::autograd::Function<GpuUpsample> {
 public:
  static torch::Tensor forward(AutogradContext*, const torch::Tensor& x) {
    const int64_t batch = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
    torch::Tensor y = torch::empty({batch, channels, 2 * height, 2 * width},
                                   x.options().memory_format(torch::MemoryFormat::ChannelsLast));
    on_stream(x, [&](void* stream) {
      cuda::cuda_kernels()->upsample(element_of(x), x.const_data_ptr(), y.data_ptr(), batch, height,
                                     width, channels, stream);
    });
    return y;
  }

  static variable_list backward(AutogradContext*, variable_list gradients) {
    TORCH_CHECK(!torch::GradMode::is_enabled(), "upsample_nearest has no second derivative");
    const torch::Tensor dy = gradients[0].contiguous(torch::MemoryFormat::ChannelsLast);
    const int64_t batch = dy.size(0), channels = dy.size(1);
    const int64_t height = dy.size(2) / 2, width = dy.size(3) / 2;
    torch::Tensor dx = torch::empty({batch, channels, height, width},
                                    dy.options().memory_format(torch::MemoryFormat::ChannelsLast));
    on_stream(dy, [&](void* stream) {
      cuda::cuda_kernels()->upsample_backward(element_of(dy), dy.const_data_ptr(), dx.data_ptr(),
                                              batch, height, width, channels, stream);
    });
    return {dx};
  }
};

}  // namespace

torch::Tensor upsample_nearest(const torch::Tensor& x) {
  if (has_upsample_kernel(x)) return GpuUpsample::apply(x);
  const auto doubled = [&] {
    return at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)}, std::nullopt, std::nullopt);
  };
  if (!x.is_cuda()) return doubled();
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  return doubled();
}

}  // namespace ddpm::kernels
