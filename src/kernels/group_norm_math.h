#pragma once

#include "ddpm/base/philox.h"  // DDPM_HOST_DEVICE
#include "dropout.h"

#include <cmath>
#include <cstdint>

// The arithmetic of GroupNorm between the passes over the pixels, shared by the kernels of the CPU
// and of CUDA. With h = x + add, n = (h - mean) rstd over a group and w = weight (1 + scale),
//   z = n w + bias (1 + scale) + shift,  y = SiLU(z) = z sigmoid(z),  or y = z.
// A kernel reads an image, [pixels, channels] (channels_last), twice: once for the sums, once to
// apply z = (x - k0) k1 + k2, with three coefficients per channel. The gradient of x likewise needs
// two sums per channel, then is dx = k1 dz + k3 + (x - k0) k4. This file turns sums into statistics
// and coefficients, in float64.
// Images are read in blocks of pixels. The blocks' sums are merged in their order, so that results
// do not depend on the number of threads. b is an image, g a group, c a channel. A is the type of
// sums and coefficients: float, or double for float64 images.

namespace ddpm::kernels {

/// The type of an image's numbers.
enum class Element { kFloat, kDouble, kBFloat16, kFloat16 };

struct GroupNormShape {
  int64_t batch, pixels, channels, groups;
  int64_t block;  ///< pixels per block; the last may have fewer
  double eps;
  bool silu;

  DDPM_HOST_DEVICE int64_t blocks() const { return (pixels + block - 1) / block; }
  DDPM_HOST_DEVICE int64_t group_size() const { return channels / groups; }
  DDPM_HOST_DEVICE int64_t block_pixels(int64_t i) const {
    return (i + 1) * block <= pixels ? block : pixels - i * block;
  }
};

template <class A>
struct GroupNormArgs {
  const A *weight, *bias;        ///< [C]
  const A *add, *scale, *shift;  ///< [B, C]; may be null
  double *mean, *rstd;           ///< [B, G] of x + add
  double* channel_mean;          ///< [B, C] of x
  double* partial;               ///< [B, blocks, C, 2]: a pass's two sums over each block
  A* coefficients;               ///< [B, 5, C]: see channel_affine and channel_gradient
  A *d_weight, *d_bias;          ///< [B, C], to be summed over b
  A *d_add, *d_scale, *d_shift;  ///< [B, C]; may be null

  DDPM_HOST_DEVICE double* partial_of(const GroupNormShape& s, int64_t b, int64_t block,
                                      int64_t c) const {
    return partial + ((b * s.blocks() + block) * s.channels + c) * 2;
  }
  DDPM_HOST_DEVICE A* coefficients_of(const GroupNormShape& s, int64_t b) const {
    return coefficients + b * 5 * s.channels;
  }
};

/// Where a pass's images lie: [B, pixels, channels] each, of one type. x may be in two parts, which
/// are concatenated along the channels. The forward pass reads x and sets y; the backward pass reads
/// x and dy, and sets dx.
struct GroupNormImages {
  const void* x = nullptr;
  const void* skip = nullptr;  ///< [B, pixels, channels - first]; may be null
  int64_t first = 0;           ///< channels of x: all without a skip
  void* y = nullptr;
  const void* dy = nullptr;
  void *dx = nullptr, *d_skip = nullptr;  ///< as x and skip
  /// Added to dx and d_skip: the gradient that another way around gives. May be null.
  const void *dx_addend = nullptr, *d_skip_addend = nullptr;
  Dropout dropout = {};  ///< of y
};

/// The part of x that has channel c of the joined image b: its numbers per pixel, and where pixel 0
/// of the channel lies in it.
struct ImagePart {
  bool skip;
  int64_t channels, offset;

  DDPM_HOST_DEVICE ImagePart(const GroupNormShape& s, int64_t first, int64_t b, int64_t c)
      : skip(c >= first),
        channels(skip ? s.channels - first : first),
        offset(b * s.pixels * channels + (skip ? c - first : c)) {}
};

/// Of `count` numbers: their mean, and the sum of their squared deviations from it.
struct Moments {
  double count, mean, deviation;
};

/// The moments of the union (Chan et al. 1979).
DDPM_HOST_DEVICE inline Moments merge(const Moments& a, const Moments& b) {
  const double count = a.count + b.count;
  const double distance = b.mean - a.mean;
  return {count, a.mean + distance * (b.count / count),
          a.deviation + b.deviation + distance * distance * (a.count * b.count / count)};
}

/// Merges each block's (mean, deviation) into the image's, which replace those of block 0.
template <class A>
DDPM_HOST_DEVICE void merge_moments(const GroupNormShape& s, const GroupNormArgs<A>& a, int64_t b,
                                    int64_t c) {
  double* first = a.partial_of(s, b, 0, c);
  Moments all{static_cast<double>(s.block_pixels(0)), first[0], first[1]};
  for (int64_t block = 1; block < s.blocks(); ++block) {
    const double* p = a.partial_of(s, b, block, c);
    all = merge(all, {static_cast<double>(s.block_pixels(block)), p[0], p[1]});
  }
  first[0] = a.channel_mean[b * s.channels + c] = all.mean;
  first[1] = all.deviation;
}

/// Adds each block's two sums; the totals replace those of block 0.
template <class A>
DDPM_HOST_DEVICE void merge_sums(const GroupNormShape& s, const GroupNormArgs<A>& a, int64_t b,
                                 int64_t c) {
  double* first = a.partial_of(s, b, 0, c);
  for (int64_t block = 1; block < s.blocks(); ++block) {
    const double* p = a.partial_of(s, b, block, c);
    first[0] += p[0];
    first[1] += p[1];
  }
}

struct GroupStatistics {
  double mean, rstd;
};

/// The statistics of x + add over a group, after merge_moments of all channels.
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

/// merge_moments for a GPU, without one division per block in a long chain: the mean of all first,
/// then the deviations from it.
template <class A>
DDPM_HOST_DEVICE void pool_moments(const GroupNormShape& s, const GroupNormArgs<A>& a, int64_t b,
                                   int64_t c) {
  double sum = 0.0, deviation = 0.0;
  for (int64_t block = 0; block < s.blocks(); ++block) {
    sum += static_cast<double>(s.block_pixels(block)) * a.partial_of(s, b, block, c)[0];
  }
  const double mean = sum / static_cast<double>(s.pixels);
  for (int64_t block = 0; block < s.blocks(); ++block) {
    const double* p = a.partial_of(s, b, block, c);
    const double distance = p[0] - mean;
    deviation += p[1] + static_cast<double>(s.block_pixels(block)) * distance * distance;
  }
  double* first = a.partial_of(s, b, 0, c);
  first[0] = a.channel_mean[b * s.channels + c] = mean;
  first[1] = deviation;
}

/// group_statistics for a GPU, likewise.
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

/// w = weight (1 + scale), the factor of the normalised value.
template <class A>
DDPM_HOST_DEVICE double channel_weight(const GroupNormShape& s, const GroupNormArgs<A>& a,
                                       int64_t b, int64_t c) {
  const double scale = a.scale ? static_cast<double>(a.scale[b * s.channels + c]) : 0.0;
  return a.weight[c] * (1.0 + scale);
}

/// The coefficients of a channel's z = (x - k0) k1 + k2.
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

/// A group's means of w dz and of w dz n.
struct GroupGradient {
  double mean, mean_n;
};

/// After merge_sums of all channels; their sums are those of dz and of dz (x - k0).
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

/// The gradient of x is rstd (w dz - mean - n mean_n) = k1 dz + k3 + (x - k0) k4: sets the
/// coefficients 3 and 4, and the gradients of the channel's parameters.
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
  // The gradient of add is that of x, summed over the pixels.
  if (a.d_add) {
    const double n = (a.channel_mean[i] + add - group.mean) * group.rstd;
    const double others = static_cast<double>(s.pixels) * (gradient.mean + n * gradient.mean_n);
    a.d_add[i] = static_cast<A>(group.rstd * (channel_weight(s, a, b, c) * sum - others));
  }
}

}  // namespace ddpm::kernels
