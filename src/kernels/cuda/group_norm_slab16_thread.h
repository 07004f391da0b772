#pragma once

#include "../group_norm_math.h"
#include "group_norm_slab16_plan.h"
#include "vector.h"

#include <cstdint>
#include <cstring>
#include <type_traits>

// One thread of the kernels of group_norm_slab16.h: where its vectors of 8 channels lie in memory, its
// channels' coefficients in shared memory, dropout's bits, and sums over the pixels of a slab.

namespace ddpm::kernels {

/// Numbers 2 p and 2 p + 1 of a vector.
template <class T>
DDPM_HOST_DEVICE void unpack(const Words16& vector, int p, float (&to)[2]) {
  T pair[2];
  static_assert(sizeof(pair) == sizeof(uint32_t));
  std::memcpy(pair, &vector.w[p], sizeof(pair));
  for (int j = 0; j < 2; ++j) to[j] = static_cast<float>(pair[j]);
}
template <class T>
DDPM_HOST_DEVICE void pack(const float (&from)[2], int p, Words16& vector) {
  const T pair[2]{static_cast<T>(from[0]), static_cast<T>(from[1])};
  std::memcpy(&vector.w[p], pair, sizeof(pair));
}

/// What both passes share. N: vectors per thread and image; kFull: every thread has all of them.
template <class T, int kImages, int N, bool kFull>
class Slab16Thread {
 protected:
  static constexpr int V = kSlab16Vector;
  using Vector = Words16;

  DDPM_HOST_DEVICE Slab16Thread(const GroupNormShape& s, const GroupNormArgs<float>& args,
                                const Slab16& slab, const GroupNormImages& images, uint32_t block,
                                int32_t thread, float* shared)
      : s_(s), args_(args), slab_(slab), memory_(images), thread_(thread), shared_(shared, slab) {
    const uint32_t slabs = static_cast<uint32_t>(s.groups) / slab.groups;
    image_ = static_cast<int32_t>(block / slabs);
    first_group_ = static_cast<int32_t>(block % slabs) * slab.groups;
    first_channel_ = first_group_ * static_cast<int32_t>(s.group_size());
    row_ = thread / slab.lanes;
    column_ = thread % slab.lanes * V;
    const ImagePart part(s, images.first, image_, first_channel_ + column_);
    skip_ = part.skip;
    part_stride_ = static_cast<int32_t>(part.channels);
    part_offset_ = part.offset + int64_t{row_} * part.channels;
    offset_ = (image_ * s.pixels + row_) * s.channels + first_channel_ + column_;
  }

  DDPM_HOST_DEVICE bool has(int k) const {
    if constexpr (kFull) return true;
    return row_ < slab_.rows && row_ + k * slab_.rows < static_cast<int32_t>(s_.pixels);
  }
  /// Where vector k lies: in an image of all channels (y, dy), and in its part of x.
  DDPM_HOST_DEVICE int64_t joined(int k) const {
    return offset_ + int64_t{k} * slab_.rows * s_.channels;
  }
  DDPM_HOST_DEVICE int64_t in_part(int k) const {
    return part_offset_ + int64_t{k} * slab_.rows * part_stride_;
  }
  DDPM_HOST_DEVICE const T* part_of(const void* x, const void* skip) const {
    return static_cast<const T*>(skip_ ? skip : x);
  }

  /// Vectors beyond the last pixel are 0.
  DDPM_HOST_DEVICE void load_x() {
    const T* x = part_of(memory_.x, memory_.skip);
#pragma unroll
    for (int k = 0; k < N; ++k) held_[0][k] = has(k) ? load_words(x + in_part(k)) : Vector{};
  }

  /// The bits of dropout, 8 per vector, as a thread needs them more than once.
  DDPM_HOST_DEVICE void draw_mask() {
    if (!memory_.dropout.key) return;
    const RngKey key = dropout_key(memory_.dropout);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const uint32_t kept = kept_of_8(memory_.dropout, key, joined(k));
      mask_[k / 4] = k % 4 == 0 ? kept : mask_[k / 4] | kept << (8 * (k % 4));
    }
  }
  /// What dropout multiplies channel i of vector k by.
  DDPM_HOST_DEVICE float factor(int k, int i) const {
    return (mask_[k / 4] >> (8 * (k % 4) + i) & 1u) != 0 ? memory_.dropout.scale : 0.0f;
  }
  /// body(silu, dropout) with what is asked for as constants, so that loops have no branches.
  template <class Body>
  DDPM_HOST_DEVICE void with_kind(const Body& body) const {
    using std::bool_constant;
    if (!s_.silu) {
      body(bool_constant<false>{}, bool_constant<false>{});
    } else if (memory_.dropout.key) {
      body(bool_constant<true>{}, bool_constant<true>{});
    } else {
      body(bool_constant<true>{}, bool_constant<false>{});
    }
  }

  template <class Body>
  DDPM_HOST_DEVICE void for_channels(const Body& body) const {
    for (int32_t c = thread_; c < slab_.channels; c += slab_.threads) body(c);
  }
  DDPM_HOST_DEVICE int64_t number_of(int32_t c) const {  // in [B, C]
    return image_ * s_.channels + first_channel_ + c;
  }
  DDPM_HOST_DEVICE float add_of(int32_t c) const {
    return args_.add ? args_.add[number_of(c)] : 0.0f;
  }
  DDPM_HOST_DEVICE float factor_of(int32_t c) const {
    return args_.scale ? 1.0f + args_.scale[number_of(c)] : 1.0f;
  }
  /// w and b of a channel.
  DDPM_HOST_DEVICE void load_affine(int32_t c) const {
    const float factor = factor_of(c);
    const float shift = args_.shift ? args_.shift[number_of(c)] : 0.0f;
    shared_.weight[c] = args_.weight[first_channel_ + c] * factor;
    shared_.bias[c] = args_.bias[first_channel_ + c] * factor + shift;
  }

  /// A thread's two sums of each of its channels, for fold(): [2][V][threads].
  DDPM_HOST_DEVICE void put_sums(int i, float first, float second) const {
    shared_.rows[i * slab_.threads + thread_] = first;
    shared_.rows[(V + i) * slab_.threads + thread_] = second;
  }
  /// Adds the rows' sums to kSlab16Segments a channel, [2][V][segments][lanes].
  DDPM_HOST_DEVICE void fold() const {
    const int32_t lanes = slab_.lanes, step = kSlab16Segments * lanes;
    for (int32_t j = thread_; j < 2 * V * step; j += slab_.threads) {
      const float* from = shared_.rows + j / step * slab_.threads;
      float sum[2] = {};
      int32_t r = j % step;
      const int32_t end = lanes * slab_.rows;
      for (; r + step < end; r += 2 * step) {
        sum[0] += from[r];
        sum[1] += from[r + step];
      }
      if (r < end) sum[0] += from[r];
      shared_.folded[j] = sum[0] + sum[1];
    }
  }
  DDPM_HOST_DEVICE float folded(int32_t which, int32_t c) const {
    const int32_t lanes = slab_.lanes, step = kSlab16Segments * lanes;
    const float* from = shared_.folded + (which * V + c % V) * step + c / V;
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < kSlab16Segments; ++i) sum += from[i * lanes];
    return sum;
  }

  const GroupNormShape& s_;
  const GroupNormArgs<float>& args_;
  const Slab16 slab_;
  const GroupNormImages& memory_;
  const int32_t thread_;
  const Slab16Shared shared_;
  int32_t image_, first_group_, first_channel_;
  int32_t row_, column_, part_stride_;
  bool skip_;
  int64_t offset_, part_offset_;
  Vector held_[kImages][N];
  uint32_t mask_[(N + 3) / 4];
};

}  // namespace ddpm::kernels
