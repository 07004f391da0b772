#include "group_norm_buffers.h"

#include "channel_operations.h"

#include <algorithm>

namespace ddpm::kernels {
namespace {

// Pixels per block. On the CPU about 16 KiB of float32, which stay in the first-level cache, and at
// most 256 blocks per image. On CUDA at most 32 blocks, as one thread merges them.
int64_t block_size(const torch::Device& device, int64_t pixels, int64_t channels) {
  const bool cpu = device.is_cpu();
  const int64_t max_blocks = cpu ? 256 : 32;
  const int64_t min_size = std::max<int64_t>(1, (cpu ? 4096 : 8192) / channels);
  return std::max(min_size, (pixels + max_blocks - 1) / max_blocks);
}

}  // namespace

GroupNormShape group_norm_shape(const torch::Tensor& x, int64_t channels, int64_t groups,
                                double eps, bool silu) {
  const int64_t pixels = x.size(2) * x.size(3);
  return {x.size(0), pixels, channels, groups, block_size(x.device(), pixels, channels), eps, silu};
}

GroupNormBuffers::GroupNormBuffers(const torch::Tensor& x, const GroupNormShape& s,
                                   const torch::Tensor& weight_C, const torch::Tensor& bias_C,
                                   const Modulation& m) {
  const auto type = x.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
  const auto converted = [&](const torch::Tensor& t) {
    return t.defined() ? t.to(type).contiguous() : t;
  };
  weight = converted(weight_C), bias = converted(bias_C);
  add = converted(m.add), scale = converted(m.scale), shift = converted(m.shift);
  const auto doubles = x.options().dtype(torch::kDouble);
  partial = torch::empty({s.batch, s.blocks(), s.channels, 2}, doubles);
  coefficients = torch::empty({s.batch, 5, s.channels}, doubles.dtype(type));
}

void GroupNormBuffers::allocate_statistics(const GroupNormShape& s) {
  statistics = {torch::empty({s.batch, s.groups}, partial.options()),
                torch::empty({s.batch, s.groups}, partial.options()),
                torch::empty({s.batch, s.channels}, partial.options())};
}

void GroupNormBuffers::allocate_gradients(const GroupNormShape& s) {
  const auto like = [&](const torch::Tensor& t) {
    return t.defined() ? torch::empty({s.batch, s.channels}, coefficients.options()) : t;
  };
  d_parameters = torch::empty({2, s.batch, s.channels}, coefficients.options());
  d_weight = d_parameters[0], d_bias = d_parameters[1];
  d_add = like(add), d_scale = like(scale), d_shift = like(shift);
}

std::vector<torch::Tensor> GroupNormBuffers::gradients(const torch::Tensor& weight_C,
                                                       const torch::Tensor& bias_C,
                                                       const Modulation& m) const {
  const auto in_type_of = [](const torch::Tensor& gradient, const torch::Tensor& of) {
    return of.defined() ? gradient.to(of.scalar_type()) : torch::Tensor();
  };
  const torch::Tensor sums = row_sums(d_parameters);
  return {in_type_of(sums[0], weight_C), in_type_of(sums[1], bias_C), in_type_of(d_add, m.add),
          in_type_of(d_scale, m.scale), in_type_of(d_shift, m.shift)};
}

}  // namespace ddpm::kernels
