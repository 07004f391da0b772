#pragma once

#include "ddpm/config/names.h"

#include <array>
#include <cstdint>
#include <functional>

#include <torch/types.h>

namespace ddpm::diffusion {

/// The picture that a network is conditioned on: a degradation of the image itself (Saharia 2021,
/// SR3; 2022, Palette).
enum class ConditionKind {
  kNone,
  kDownsample,  ///< "downsample": the image made smaller, for super-resolution
  kGrey,        ///< "grey": the image without colours, for colourisation
};
constexpr auto names_of(ConditionKind) { return std::array{"none", "downsample", "grey"}; }

struct ConditionConfig {
  ConditionKind kind = ConditionKind::kNone;
  int64_t factor = 4;  ///< of kDownsample: each pixel of the picture is the mean of factor x factor
  /// The network is also trained without the picture (zeros in its place), for guidance.
  bool null_condition = false;

  bool is_set() const { return kind != ConditionKind::kNone; }
  bool operator==(const ConditionConfig&) const = default;
};

/// The shape of the pictures of images [channels,height,width]: [c,h,w]. The sizes divide by the
/// factor, and kGrey has 3 channels (nn::fit_to_images_).
std::array<int64_t, 3> condition_shape(const ConditionConfig& config, int64_t channels,
                                       int64_t height, int64_t width);
/// The channels that the network reads besides those of x_t; 0 without a condition.
int64_t condition_channels(const ConditionConfig& config, int64_t channels);

/// The picture of each image: x0 [B,C,H,W] in [-1,1] to uint8 [B,c,h,w], on x0's device. It is
/// rounded to levels, so that a file holds what training sees. No host sync.
torch::Tensor condition_picture(const ConditionConfig& config, const torch::Tensor& x0);

/// What the network reads of pictures, uint8 [B,c,h,w]: [B,c,height,width] of `dtype`, in the range
/// of images. Smaller pictures are enlarged by cubic convolution (Keys 1981, a = -0.75, centres of
/// pixels aligned, the border continued), which may leave [-1,1] a little.
torch::Tensor condition_input(const torch::Tensor& pictures, int64_t height, int64_t width,
                              torch::Dtype dtype);

/// Pictures as images, to be shown or compared: uint8 [B,c,h,w] to uint8
/// [B,channels,height,width]. Enlarged as for the network; grey as equal channels.
torch::Tensor condition_image(const torch::Tensor& pictures, int64_t channels, int64_t height,
                              int64_t width);

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
