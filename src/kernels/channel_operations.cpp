#include "channel_operations.h"

#include "cuda/kernels.h"
#include "device_call.h"

namespace ddpm::kernels {
namespace {

bool runs_on_cuda(const torch::Tensor& x) {
  return x.is_cuda() && cuda::cuda_kernels() && x.scalar_type() != torch::kDouble;
}

torch::Dtype sum_type(const torch::Tensor& x) {
  return x.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
}

}  // namespace

torch::Tensor row_sums(const torch::Tensor& x) {
  const int64_t count = x.size(0), rows = x.size(1), channels = x.size(2);
  torch::Tensor sums = torch::empty({count, channels}, x.options().dtype(sum_type(x)));
  if (x.numel() == 0) return sums.zero_();
  if (!runs_on_cuda(x)) {
    for (int64_t i = 0; i < count; ++i) sums[i].copy_(x[i].sum(0, false, sum_type(x)));
    return sums;
  }
  const torch::Tensor in = x.contiguous();
  const cuda::RowSums shape{count, rows, channels, cuda::row_sum_chunks(rows, channels)};
  const torch::Tensor partial = torch::empty({count, shape.chunks, channels}, sums.options());
  on_stream(in, [&](void* stream) {
    cuda::cuda_kernels()->row_sums(shape, element_of(in), in.data_ptr(), partial.data_ptr<float>(),
                                   sums.data_ptr<float>(), stream);
  });
  return sums;
}

torch::Tensor channel_sums(const torch::Tensor& dy) {
  if (!runs_on_cuda(dy)) return dy.sum({0, 2, 3}, false, sum_type(dy));
  const int64_t channels = dy.size(1);
  const torch::Tensor rows = dy.permute({0, 2, 3, 1}).reshape({1, -1, channels});
  return row_sums(rows)[0];
}

void add_bias_residual_(const torch::Tensor& y, const torch::Tensor& bias,
                        const torch::Tensor& residual) {
  if (y.numel() == 0) return;
  TORCH_CHECK(
      y.is_contiguous(torch::MemoryFormat::ChannelsLast) &&
          (!residual.defined() || (residual.is_contiguous(torch::MemoryFormat::ChannelsLast) &&
                                   residual.scalar_type() == y.scalar_type())),
      "images in channels_last, of one type");
  const torch::Tensor b = bias.defined() ? bias.to(sum_type(y)).contiguous() : bias;
  if (!runs_on_cuda(y)) {
    torch::Tensor sum = y.to(sum_type(y));
    if (b.defined()) sum = sum + b.view({1, -1, 1, 1});
    if (residual.defined()) sum = sum + residual;
    y.copy_(sum);
    return;
  }
  on_stream(y, [&](void* stream) {
    cuda::cuda_kernels()->add_bias_residual(
        element_of(y), y.data_ptr(), residual.defined() ? residual.const_data_ptr() : nullptr,
        b.defined() ? b.const_data_ptr<float>() : nullptr, y.numel(), y.size(1), stream);
  });
}

}  // namespace ddpm::kernels
