#include "conv_input.h"

#include "../cpu/buffer.h"

#include <algorithm>

namespace ddpm::kernels::amx {

ConvInput::ConvInput(const ConvShape& s, const torch::Tensor& x, const torch::Tensor& skip)
    : s_(s), x_(x), skip_(skip), x_channels_(x.size(1)) {}

const Bf16* ConvInput::images(int64_t first, int64_t count, Bf16* buffer) const {
  const int64_t begin = first * s_.pixels(), end = begin + count * s_.pixels();
  if (!is_concatenated()) return data_of(x_) + begin * s_.in;
  const int64_t skip_channels = s_.in - x_channels_;
  const Bf16 *x = data_of(x_) + begin * x_channels_, *skip = data_of(skip_) + begin * skip_channels;
  Bf16* to = buffer;
  for (int64_t p = begin; p < end; ++p, x += x_channels_, skip += skip_channels) {
    to = std::copy_n(x, x_channels_, to);
    to = std::copy_n(skip, skip_channels, to);
  }
  return buffer;
}

void ConvInput::split_gradient(const Bf16* from, int64_t i, const InputGradients& to) const {
  const int64_t skip_channels = s_.in - x_channels_;
  Bf16* dx = data_of(to.x) + i * s_.pixels() * x_channels_;
  Bf16* d_skip = data_of(to.skip) + i * s_.pixels() * skip_channels;
  for (int64_t p = 0; p < s_.pixels(); ++p, from += s_.in) {
    dx = std::copy_n(from, x_channels_, dx);
    d_skip = std::copy_n(from + x_channels_, skip_channels, d_skip);
  }
}

InputNorm::InputNorm(const torch::Tensor& x, const ConvShape& s, const Norm& norm) {
  if (!norm.weight.defined()) return;
  shape = group_norm_shape(x, s.in, norm.groups, norm.eps, /*silu=*/true);
  buffers.emplace(x, *shape, norm.weight, norm.bias, norm.modulation);
  buffers->allocate_statistics(*shape);
  args = buffers->args<float>();
}

InputNorm::InputNorm(const torch::Tensor& x, const ConvShape& s, const Norm& norm,
                     const GroupNormStatistics& statistics) {
  if (!norm.weight.defined()) return;
  shape = group_norm_shape(x, s.in, norm.groups, norm.eps, /*silu=*/true);
  buffers.emplace(x, *shape, norm.weight, norm.bias, norm.modulation);
  buffers->statistics = statistics;
  buffers->allocate_gradients(*shape);
  args = buffers->args<float>();
}

}  // namespace ddpm::kernels::amx
