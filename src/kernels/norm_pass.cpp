#include "norm_pass.h"

#include "cpu/group_norm.h"
#include "cuda/kernels.h"
#include "device_call.h"
#include "dropout.h"

// On CUDA one kernel does all of a pass. The CPU's kernel has no second input and no dropout: these
// are operations of their own there.

namespace ddpm::kernels {
namespace {

torch::Tensor joined_input(const NormPass& pass) {
  if (!pass.skip.defined()) return pass.x;
  return at::cat({pass.x, pass.skip}, 1).contiguous(torch::MemoryFormat::ChannelsLast);
}

GroupNormShape pass_shape(const NormPass& pass) {
  const int64_t channels = pass.x.size(1) + (pass.skip.defined() ? pass.skip.size(1) : 0);
  return group_norm_shape(pass.x, channels, pass.norm.groups, pass.norm.eps, pass.silu);
}

torch::Tensor images_like(const torch::Tensor& x, int64_t channels) {
  return torch::empty({x.size(0), channels, x.size(2), x.size(3)},
                      x.options().memory_format(torch::MemoryFormat::ChannelsLast));
}

// The factors by which dropout multiplies y; for the CPU.
torch::Tensor dropout_factors(const torch::Tensor& y, double p, const torch::Tensor& key) {
  const Dropout dropout = dropout_of(p, key.data_ptr<int64_t>());
  torch::Tensor factors = torch::empty_like(y, y.options().dtype(torch::kFloat));
  float* out = factors.data_ptr<float>();
  for (int64_t i = 0; i < factors.numel(); ++i) {
    float one[1] = {1.0f};
    drop(one, dropout, dropout_key(dropout), i);
    out[i] = one[0];
  }
  return factors.to(y.scalar_type());
}

// The images of a pass on CUDA.
GroupNormImages pass_images(const NormPass& pass) {
  GroupNormImages m;
  m.x = pass.x.const_data_ptr();
  if (pass.skip.defined()) m.skip = pass.skip.const_data_ptr();
  m.first = pass.x.size(1);
  if (pass.dropout > 0.0)
    m.dropout = dropout_of(pass.dropout, pass.dropout_key.data_ptr<int64_t>());
  return m;
}

const void* norm_data(const torch::Tensor& t) { return t.defined() ? t.const_data_ptr() : nullptr; }

// call(args), with args of the type of x's sums.
template <class Call>
void with_args(const torch::Tensor& x, const GroupNormBuffers& buffers, const Call& call) {
  if (x.scalar_type() == torch::kDouble) {
    call(buffers.args<double>());
  } else {
    call(buffers.args<float>());
  }
}

template <class A>
const cuda::GroupNormKernels<A>& kernels_of(const GroupNormArgs<A>&) {
  return cuda::cuda_kernels()->group_norm<A>();
}

}  // namespace

bool has_norm_kernel(const torch::Tensor& x) {
  if (x.dim() != 4 || x.numel() == 0 || !x.is_contiguous(torch::MemoryFormat::ChannelsLast))
    return false;
  const auto type = x.scalar_type();
  const bool common = type == torch::kFloat || type == torch::kDouble || type == torch::kBFloat16;
  if (x.is_cpu()) return common;
  return x.is_cuda() && cuda::cuda_kernels() && (common || type == torch::kHalf);
}

NormResult norm_forward(const NormPass& pass) {
  const GroupNormShape s = pass_shape(pass);
  const Norm& norm = pass.norm;
  GroupNormBuffers buffers(pass.x, s, norm.weight, norm.bias, norm.modulation);
  buffers.allocate_statistics(s);
  torch::Tensor y = images_like(pass.x, s.channels);
  const Element element = element_of(pass.x);
  with_args(pass.x, buffers, [&](const auto& args) {
    if (pass.x.is_cpu()) {
      cpu::group_norm_forward(s, element, joined_input(pass).data_ptr(), y.data_ptr(), args);
      return;
    }
    GroupNormImages m = pass_images(pass);
    m.y = y.data_ptr();
    on_stream(pass.x, [&](void* stream) { kernels_of(args).forward(s, element, m, args, stream); });
  });
  if (pass.x.is_cpu() && pass.dropout > 0.0)
    y.mul_(dropout_factors(y, pass.dropout, pass.dropout_key));
  return {y, buffers.statistics};
}

NormGradients norm_backward(const NormPass& pass, const GroupNormStatistics& statistics,
                            const torch::Tensor& gradient, const torch::Tensor& x_addend,
                            const torch::Tensor& skip_addend) {
  const GroupNormShape s = pass_shape(pass);
  const Norm& norm = pass.norm;
  torch::Tensor dy =
      gradient.to(pass.x.scalar_type()).contiguous(torch::MemoryFormat::ChannelsLast);
  GroupNormBuffers buffers(pass.x, s, norm.weight, norm.bias, norm.modulation);
  buffers.statistics = statistics;
  buffers.allocate_gradients(s);
  const Element element = element_of(pass.x);
  NormGradients g;
  with_args(pass.x, buffers, [&](const auto& args) {
    if (pass.x.is_cpu()) {
      if (pass.dropout > 0.0) dy = dy * dropout_factors(dy, pass.dropout, pass.dropout_key);
      torch::Tensor dx = images_like(pass.x, s.channels);
      cpu::group_norm_backward(s, element, joined_input(pass).data_ptr(), dy.data_ptr(),
                               dx.data_ptr(), args);
      const int64_t first = pass.x.size(1);
      const auto part = [&](int64_t from, int64_t count, const torch::Tensor& addend) {
        torch::Tensor of = dx.narrow(1, from, count);
        if (addend.defined()) of = of + addend;
        return of.contiguous(torch::MemoryFormat::ChannelsLast);
      };
      g.x = part(0, first, x_addend);
      if (pass.skip.defined()) g.skip = part(first, s.channels - first, skip_addend);
      return;
    }
    g.x = torch::empty_like(pass.x);
    if (pass.skip.defined()) g.skip = torch::empty_like(pass.skip);
    GroupNormImages m = pass_images(pass);
    m.dy = dy.data_ptr(), m.dx = g.x.data_ptr();
    m.d_skip = g.skip.defined() ? g.skip.data_ptr() : nullptr;
    m.dx_addend = norm_data(x_addend), m.d_skip_addend = norm_data(skip_addend);
    on_stream(pass.x,
              [&](void* stream) { kernels_of(args).backward(s, element, m, args, stream); });
  });
  const std::vector<torch::Tensor> d = buffers.gradients(norm.weight, norm.bias, norm.modulation);
  g.weight = d[0], g.bias = d[1], g.add = d[2], g.scale = d[3], g.shift = d[4];
  return g;
}

}  // namespace ddpm::kernels
