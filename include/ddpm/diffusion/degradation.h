#pragma once

#include <cstdint>
#include <functional>

#include <torch/types.h>

namespace ddpm::diffusion {

/// A known linear operator A that images went through: x [B,C,H,W] to A x [B,C',H',W'], both in the
/// range of images, [-1,1]. Differentiable in x: autograd is its adjoint.
using Degradation = std::function<torch::Tensor(const torch::Tensor& x)>;

/// Gaussian blur of each channel. sigma: in pixels. The kernel ends at 4 sigma and sums to 1; beyond
/// the border the outermost pixel continues. For images [B,C,height,width] of `options`.
Degradation gaussian_blur(double sigma, int64_t height, int64_t width,
                          const torch::TensorOptions& options);

/// The mean of each factor x factor block: [B,C,H,W] to [B,C,H/factor,W/factor].
Degradation downsampling(int64_t factor);

/// Grey from RGB, [B,3,H,W] to [B,1,H,W]: 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), as image programs
/// convert.
Degradation grey();

/// Missing pixels are 0, the others stay. unknown: bool [1,1,H,W], true where pixels are missing.
Degradation missing_pixels(const torch::Tensor& unknown);

}  // namespace ddpm::diffusion
