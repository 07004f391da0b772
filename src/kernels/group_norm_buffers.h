#pragma once

#include "cuda/group_norm.h"
#include "ddpm/kernels/group_norm.h"

#include <algorithm>

namespace ddpm::kernels {

// Pixels a tile: on the CPU some 16 KiB, and at most 256 tiles an image; on CUDA at most 32 tiles,
// which one thread merges.
inline int64_t tile_size(const torch::Device& device, int64_t pixels, int64_t channels) {
  const bool cpu = device.is_cpu();
  const int64_t most = cpu ? 256 : 32;
  const int64_t least = std::max<int64_t>(1, (cpu ? 4096 : 8192) / channels);
  return std::max(least, (pixels + most - 1) / most);
}

/// Of images like x, [B,?,H,W], with these channels.
inline GroupNormShape shape_of(const torch::Tensor& x, int64_t channels, int64_t groups, double eps,
                               bool silu) {
  const int64_t pixels = x.size(2) * x.size(3);
  return {x.size(0), pixels, channels, groups, tile_size(x.device(), pixels, channels), eps, silu};
}

/// The tensors that GroupNormArgs points into.
struct GroupNormBuffers {
  torch::Tensor weight, bias, add, scale, shift;
  torch::Tensor mean, rstd, channel_mean;
  torch::Tensor partial, coefficients;
  torch::Tensor d_weight, d_bias, d_add, d_scale, d_shift;

  GroupNormBuffers(const torch::Tensor& x, const GroupNormShape& s, const torch::Tensor& weight_C,
                   const torch::Tensor& bias_C, const Modulation& m) {
    const auto type = x.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
    const auto plain = [&](const torch::Tensor& t) {
      return t.defined() ? t.to(type).contiguous() : t;
    };
    weight = plain(weight_C), bias = plain(bias_C);
    add = plain(m.add), scale = plain(m.scale), shift = plain(m.shift);
    const auto doubles = x.options().dtype(torch::kDouble);
    partial = torch::empty({s.batch, s.tiles(), s.channels, 2}, doubles);
    coefficients = torch::empty({s.batch, 5, s.channels}, doubles.dtype(type));
  }

  /// Before the forward pass.
  void allocate_statistics(const GroupNormShape& s) {
    mean = torch::empty({s.batch, s.groups}, partial.options());
    rstd = torch::empty({s.batch, s.groups}, partial.options());
    channel_mean = torch::empty({s.batch, s.channels}, partial.options());
  }

  /// Before the backward pass.
  void allocate_gradients(const GroupNormShape& s) {
    const auto like = [&](const torch::Tensor& t) {
      return t.defined() ? torch::empty({s.batch, s.channels}, coefficients.options()) : t;
    };
    d_weight = like(weight), d_bias = like(bias);
    d_add = like(add), d_scale = like(scale), d_shift = like(shift);
  }

  /// Of weight, bias, add, scale and shift, in the types these have.
  std::vector<torch::Tensor> gradients(const torch::Tensor& weight_C, const torch::Tensor& bias_C,
                                       const Modulation& m) const {
    const auto in_type_of = [](const torch::Tensor& gradient, const torch::Tensor& of) {
      return of.defined() ? gradient.to(of.scalar_type()) : torch::Tensor();
    };
    return {in_type_of(d_weight.sum(0), weight_C), in_type_of(d_bias.sum(0), bias_C),
            in_type_of(d_add, m.add), in_type_of(d_scale, m.scale), in_type_of(d_shift, m.shift)};
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

}  // namespace ddpm::kernels
