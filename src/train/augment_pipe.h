#pragma once

#include <cstdint>

#include <torch/types.h>

namespace ddpm::train {

/// The augmentation of Karras 2022 (EDM), Appendix F.2, Table 6: each image is mirrored, scaled,
/// rotated, stretched and shifted at random, by one resampling. The network may read how
/// (augment_labels), so that its samples are not augmented.

/// The columns of the parameters: a_0 to a_7 of Table 6. 0 changes nothing.
enum class AugmentColumn : int64_t {
  kFlipX,         ///< a_0, 0 or 1: mirrored left to right; always drawn
  kFlipY,         ///< a_1, 0 or 1: mirrored top to bottom
  kScale,         ///< a_2 ~ N(0,1): larger by 2^(0.2 a_2)
  kRotation,      ///< a_3, uniform in -pi..pi: turned by this angle, from the x to the y axis
  kStretchAxis,   ///< a_4, uniform in -pi..pi: the axis of a_5
  kStretch,       ///< a_5 ~ N(0,1): larger by 2^(0.2 a_5) along the axis, smaller across it
  kTranslationX,  ///< a_6 ~ N(0,1): right by width a_6 / 8
  kTranslationY,  ///< a_7 ~ N(0,1): down by height a_7 / 8
};
inline constexpr int64_t kAugmentColumns = 8;
/// The shift of a_6 = 1 and a_7 = 1 as a share of the side.
inline constexpr double kAugmentShift = 0.125;
/// log2 of the factor of a_2 = 1 and of a_5 = 1.
inline constexpr double kAugmentLogScale = 0.2;

/// Parameters of the samples `ids`, int64 [B]: float64 [B,8] on their device, a function of (seed,
/// id) alone. All but the mirroring left to right are each switched on with `probability`,
/// independently; both shifts at once. No host sync.
torch::Tensor draw_augmentation(uint64_t seed, double probability, const torch::Tensor& ids);

/// What the network reads of parameters [B,8]: float64 [B,9], the last column of Table 6: a_0, a_1,
/// a_2, cos a_3 - 1, sin a_3, a_5 cos a_4, a_5 sin a_4, a_6, a_7. Zeros for an image as it is.
torch::Tensor augment_labels(const torch::Tensor& parameters);

/// Images x [B,C,H,W] in [-1,1] transformed by parameters [B,8]: [B,C,H,W], channels_last, clamped
/// to [-1,1]. Cubic convolution (Keys 1981, a = -1/2) around the images' centre, as wide as a pixel of
/// the result is among those of x, up to twice a pixel; beyond the border the image is mirrored.
/// Mirroring and shifts by whole pixels are exact. No host sync.
torch::Tensor augmented(const torch::Tensor& x, const torch::Tensor& parameters);

}  // namespace ddpm::train
