#pragma once

#include "ddpm/base/philox.h"  // DDPM_HOST_DEVICE

#include <cmath>
#include <cstdint>

// The arithmetic of GroupNorm between the passes over the pixels, shared by the CPU's and the CUDA
// kernels. An image is [pixels, channels] (channels_last) and is read in tiles of pixels; b is an
// image, g a group, c a channel. A is what sums and coefficients are kept in: float, or double for
// float64 images.

namespace ddpm::kernels {

struct GroupNormShape {
  int64_t batch, pixels, channels, groups;
  int64_t tile;  ///< pixels a tile; the last may have fewer
  double eps;
  bool silu;

  DDPM_HOST_DEVICE int64_t tiles() const { return (pixels + tile - 1) / tile; }
  DDPM_HOST_DEVICE int64_t group_size() const { return channels / groups; }
  DDPM_HOST_DEVICE int64_t tile_pixels(int64_t i) const {
    return (i + 1) * tile <= pixels ? tile : pixels - i * tile;
  }
};

template <class A>
struct GroupNormArgs {
  const A *weight, *bias;        ///< [C]
  const A *add, *scale, *shift;  ///< [B, C]; may be null
  double *mean, *rstd;           ///< [B, G] of x + add
  double* channel_mean;          ///< [B, C] of x
  double* partial;               ///< [B, tiles, C, 2]: what a pass found in each tile
  A* coefficients;               ///< [B, 5, C]: see channel_affine and channel_gradient
  A *d_weight, *d_bias;          ///< [B, C], to be summed over b
  A *d_add, *d_scale, *d_shift;  ///< [B, C]; may be null

  DDPM_HOST_DEVICE double* partial_of(const GroupNormShape& s, int64_t b, int64_t tile,
                                      int64_t c) const {
    return partial + ((b * s.tiles() + tile) * s.channels + c) * 2;
  }
  DDPM_HOST_DEVICE A* coefficients_of(const GroupNormShape& s, int64_t b) const {
    return coefficients + b * 5 * s.channels;
  }
};

/// count numbers with this mean, and the sum of their squared deviations from it.
struct Moments {
  double count, mean, deviation;
};

/// Those of both together (Chan et al. 1979).
DDPM_HOST_DEVICE inline Moments merge(const Moments& a, const Moments& b) {
  const double count = a.count + b.count;
  const double distance = b.mean - a.mean;
  return {count, a.mean + distance * (b.count / count),
          a.deviation + b.deviation + distance * distance * (a.count * b.count / count)};
}

/// From each tile's (mean, deviation) to the image's, left in the place of tile 0.
template <class A>
DDPM_HOST_DEVICE void merge_moments(const GroupNormShape& s, const GroupNormArgs<A>& a, int64_t b,
                                    int64_t c) {
  double* first = a.partial_of(s, b, 0, c);
  Moments all{static_cast<double>(s.tile_pixels(0)), first[0], first[1]};
  for (int64_t tile = 1; tile < s.tiles(); ++tile) {
    const double* p = a.partial_of(s, b, tile, c);
    all = merge(all, {static_cast<double>(s.tile_pixels(tile)), p[0], p[1]});
  }
  first[0] = a.channel_mean[b * s.channels + c] = all.mean;
  first[1] = all.deviation;
}

/// From each tile's two sums to the image's, left in the place of tile 0.
template <class A>
DDPM_HOST_DEVICE void merge_sums(const GroupNormShape& s, const GroupNormArgs<A>& a, int64_t b,
                                 int64_t c) {
  double* first = a.partial_of(s, b, 0, c);
  for (int64_t tile = 1; tile < s.tiles(); ++tile) {
    const double* p = a.partial_of(s, b, tile, c);
    first[0] += p[0];
    first[1] += p[1];
  }
}

struct GroupStatistics {
  double mean, rstd;
};

/// After merge_moments of all channels: those of x + add over a group.
template <class A>
DDPM_HOST_DEVICE GroupStatistics group_statistics(const GroupNormShape& s,
                                                  const GroupNormArgs<A>& a, int64_t b, int64_t g) {
  const auto count = static_cast<double>(s.pixels);
  Moments all{};
  for (int64_t c = g * s.group_size(); c < (g + 1) * s.group_size(); ++c) {
    const double* p = a.partial_of(s, b, 0, c);
    const double add = a.add ? static_cast<double>(a.add[b * s.channels + c]) : 0.0;
    const Moments channel{count, p[0] + add, p[1]};
    all = all.count == 0 ? channel : merge(all, channel);
  }
  return {all.mean, 1.0 / std::sqrt(all.deviation / all.count + s.eps)};
}

/// merge_moments without a division a tile, which on a GPU would be a long chain of them:
/// deviations from the mean of all, in two passes.
template <class A>
DDPM_HOST_DEVICE void pool_moments(const GroupNormShape& s, const GroupNormArgs<A>& a, int64_t b,
                                   int64_t c) {
  double sum = 0.0, deviation = 0.0;
  for (int64_t tile = 0; tile < s.tiles(); ++tile) {
    sum += static_cast<double>(s.tile_pixels(tile)) * a.partial_of(s, b, tile, c)[0];
  }
  const double mean = sum / static_cast<double>(s.pixels);
  for (int64_t tile = 0; tile < s.tiles(); ++tile) {
    const double* p = a.partial_of(s, b, tile, c);
    const double distance = p[0] - mean;
    deviation += p[1] + static_cast<double>(s.tile_pixels(tile)) * distance * distance;
  }
  double* first = a.partial_of(s, b, 0, c);
  first[0] = a.channel_mean[b * s.channels + c] = mean;
  first[1] = deviation;
}

/// group_statistics likewise.
template <class A>
DDPM_HOST_DEVICE GroupStatistics pooled_statistics(const GroupNormShape& s,
                                                   const GroupNormArgs<A>& a, int64_t b,
                                                   int64_t g) {
  const auto size = static_cast<int>(s.group_size());
  const double* moments = a.partial_of(s, b, 0, g * size);
  const A* add = a.add ? a.add + b * s.channels + g * size : nullptr;
  const auto mean_of = [&](int i) {
    return moments[2 * i] + (add ? static_cast<double>(add[i]) : 0.0);
  };
  double sum = 0.0, within = 0.0, between = 0.0;
  for (int i = 0; i < size; ++i) sum += mean_of(i);
  const double mean = sum / size;
  for (int i = 0; i < size; ++i) {
    const double distance = mean_of(i) - mean;
    within += moments[2 * i + 1];
    between += distance * distance;
  }
  const auto pixels = static_cast<double>(s.pixels);
  const double variance = (within + pixels * between) / (pixels * size);
  return {mean, 1.0 / std::sqrt(variance + s.eps)};
}

template <class A>
DDPM_HOST_DEVICE GroupStatistics saved_statistics(const GroupNormShape& s,
                                                  const GroupNormArgs<A>& a, int64_t b, int64_t g) {
  return {a.mean[b * s.groups + g], a.rstd[b * s.groups + g]};
}

/// weight (1 + scale): what the normalised value is multiplied by.
template <class A>
DDPM_HOST_DEVICE double channel_weight(const GroupNormShape& s, const GroupNormArgs<A>& a,
                                       int64_t b, int64_t c) {
  const double scale = a.scale ? static_cast<double>(a.scale[b * s.channels + c]) : 0.0;
  return a.weight[c] * (1.0 + scale);
}

/// z = (x - k0) k1 + k2 of a channel.
template <class A>
struct ChannelAffine {
  A k0, k1, k2;
};

template <class A>
DDPM_HOST_DEVICE ChannelAffine<A> affine_of(const GroupNormShape& s, const GroupNormArgs<A>& a,
                                            int64_t b, int64_t c, const GroupStatistics& group) {
  const int64_t i = b * s.channels + c;
  const double add = a.add ? static_cast<double>(a.add[i]) : 0.0;
  const double scale = a.scale ? static_cast<double>(a.scale[i]) : 0.0;
  const double shift = a.shift ? static_cast<double>(a.shift[i]) : 0.0;
  return {static_cast<A>(group.mean - add), static_cast<A>(group.rstd * channel_weight(s, a, b, c)),
          static_cast<A>(a.bias[c] * (1.0 + scale) + shift)};
}

/// Sets coefficients 0 to 2 of a channel.
template <class A>
DDPM_HOST_DEVICE void channel_affine(const GroupNormShape& s, const GroupNormArgs<A>& a, int64_t b,
                                     int64_t c, const GroupStatistics& group) {
  const ChannelAffine<A> affine = affine_of(s, a, b, c, group);
  A* k = a.coefficients_of(s, b);
  k[c] = affine.k0;
  k[s.channels + c] = affine.k1;
  k[2 * s.channels + c] = affine.k2;
}

/// With n the normalised value and w = channel_weight: the group's means of w dz and of w dz n.
struct GroupGradient {
  double mean, mean_n;
};

/// After merge_sums of all channels, whose sums are those of dz and of dz (x - k0).
template <class A>
DDPM_HOST_DEVICE GroupGradient group_gradient(const GroupNormShape& s, const GroupNormArgs<A>& a,
                                              int64_t b, int64_t g, const GroupStatistics& group) {
  double sum = 0.0, sum_n = 0.0;
  for (int64_t c = g * s.group_size(); c < (g + 1) * s.group_size(); ++c) {
    const double* p = a.partial_of(s, b, 0, c);
    const double weight = channel_weight(s, a, b, c);
    sum += weight * p[0];
    sum_n += weight * group.rstd * p[1];
  }
  const auto count = static_cast<double>(s.pixels * s.group_size());
  return {sum / count, sum_n / count};
}

/// The gradient of x is rstd (w dz - mean - n mean_n): k1 dz + k3 + (x - k0) k4, whose
/// coefficients 3 and 4 are set; and the gradients of what else a channel has.
template <class A>
DDPM_HOST_DEVICE void channel_gradient(const GroupNormShape& s, const GroupNormArgs<A>& a,
                                       int64_t b, int64_t c, const GroupStatistics& group,
                                       const GroupGradient& gradient) {
  const int64_t i = b * s.channels + c;
  const double* p = a.partial_of(s, b, 0, c);
  const double sum = p[0], sum_n = p[1] * group.rstd;
  const double add = a.add ? static_cast<double>(a.add[i]) : 0.0;
  const double scale = a.scale ? static_cast<double>(a.scale[i]) : 0.0;
  A* k = a.coefficients_of(s, b);
  k[3 * s.channels + c] = static_cast<A>(-group.rstd * gradient.mean);
  k[4 * s.channels + c] = static_cast<A>(-group.rstd * group.rstd * gradient.mean_n);
  a.d_weight[i] = static_cast<A>((1.0 + scale) * sum_n);
  a.d_bias[i] = static_cast<A>((1.0 + scale) * sum);
  if (a.d_scale) a.d_scale[i] = static_cast<A>(a.weight[c] * sum_n + a.bias[c] * sum);
  if (a.d_shift) a.d_shift[i] = static_cast<A>(sum);
  if (a.d_add) {  // the gradient of x summed over the pixels
    const double n = (a.channel_mean[i] + add - group.mean) * group.rstd;
    const double others = static_cast<double>(s.pixels) * (gradient.mean + n * gradient.mean_n);
    a.d_add[i] = static_cast<A>(group.rstd * (channel_weight(s, a, b, c) * sum - others));
  }
}

}  // namespace ddpm::kernels
