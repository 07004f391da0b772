#pragma once

#include "../group_norm_math.h"
#include "group_norm_slab_plan.h"
#include "vector.h"

#include <cstdint>

// One thread of the GroupNorm slab kernels (group_norm_slab.h): where its numbers lie in memory and
// in shared memory, and sums over the pixels of a slab.
// Memory: a warp reads runs of a slab's width, full sectors if the plan can have it so, 16 bytes
// per thread. Neighbouring slabs are neighbours in the grid, so that sectors which they share are
// still in the L2 cache. Shared memory: neighbouring threads hold neighbouring vectors (slab
// [pixels][lanes]) and sums (rows [V][rows][lanes]), which is free of bank conflicts. Every sum has
// one fixed order.

namespace ddpm::kernels {

/// What one thread knows in both passes. T: type in memory; A: type of sums; V: channels per
/// vector; kImages: 1 forward (x), 2 backward (x, dy).
template <class T, class A, int V, int kImages>
class SlabThread {
 protected:
  using Vector = Pack<T, V>;

  DDPM_HOST_DEVICE SlabThread(const GroupNormShape& s, const GroupNormArgs<A>& args,
                              const Slab& slab, const GroupNormImages& images, uint32_t block,
                              int32_t thread, unsigned char* shared)
      : slab_(slab),
        thread_(thread),
        active_(slab.lanes * slab.rows),
        vectors_(static_cast<int32_t>(s.pixels) * slab.lanes),
        column_(thread % slab.lanes * V),
        image_shape_(s),
        key_(dropout_key(images.dropout)),
        memory_(images),
        image_args_(args) {
    const SlabOffsets at(slab, static_cast<int32_t>(s.pixels), kImages, sizeof(T), sizeof(A));
    const uint32_t slabs = static_cast<uint32_t>(s.groups) / slab.groups;
    const int64_t b = block / slabs, i = block % slabs;
    const int64_t first = i * slab.channels;  // channel of the image
    image_ = b;
    first_channel_ = first;
    first_number_ = b * s.channels + first;
    first_group_ = b * s.groups + i * slab.groups;
    offset_ = b * s.pixels * s.channels + first + thread / slab.lanes * s.channels + column_;
    step_ = slab.rows * s.channels;
    const ImagePart part(s, images.first, b, first + column_);
    skip_ = part.skip;
    part_offset_ = part.offset + thread / slab.lanes * part.channels;
    part_step_ = slab.rows * part.channels;
    images_ = shared;
    image_bytes_ = at.image;
    folded_ = reinterpret_cast<double*>(shared + at.folded);
    statistics_ = reinterpret_cast<GroupStatistics*>(shared + at.statistics);
    rows_ = reinterpret_cast<A*>(shared + at.rows);
    parameters_ = reinterpret_cast<A*>(shared + at.parameters);
    // The slab as an image of its own, for the functions of group_norm_math.h.
    shape_ = {1, s.pixels, slab.channels, slab.groups, s.pixels, s.eps, s.silu};
    const auto from = [&](auto* p) { return p ? p + first_number_ : nullptr; };
    const auto kept = [&](const A* p, int32_t i) {
      return p ? parameters_ + i * slab.channels : nullptr;
    };
    args_ = {kept(args.weight, 0),
             kept(args.bias, 1),
             kept(args.add, 2),
             kept(args.scale, 3),
             kept(args.shift, 4),
             args.mean + first_group_,
             args.rstd + first_group_,
             args.channel_mean + first_number_,
             reinterpret_cast<double*>(shared + at.partial),
             reinterpret_cast<A*>(shared + at.coefficients),
             from(args.d_weight),
             from(args.d_bias),
             from(args.d_add),
             from(args.d_scale),
             from(args.d_shift)};
  }

  /// Vector k of the thread's vectors of image i.
  DDPM_HOST_DEVICE Vector& held(int32_t i, int32_t k) const {
    return reinterpret_cast<Vector*>(images_ + i * image_bytes_)[thread_ + k * active_];
  }
  /// Where it lies in memory: in an image of all channels (y, dy), and in its part of x.
  DDPM_HOST_DEVICE int64_t joined(int32_t k) const { return offset_ + k * step_; }
  DDPM_HOST_DEVICE int64_t in_part(int32_t k) const { return part_offset_ + k * part_step_; }
  DDPM_HOST_DEVICE const T* part_of(const void* x, const void* skip) const {
    return static_cast<const T*>(skip_ ? skip : x);
  }

  /// The part of x with channel c of the slab, from pixel 0 on.
  DDPM_HOST_DEVICE ImagePart part_of_channel(int32_t c) const {
    return {image_shape_, memory_.first, image_, first_channel_ + c};
  }
  DDPM_HOST_DEVICE void drop_if_asked(A (&v)[V], int32_t k) const {
    if (memory_.dropout.key) drop(v, memory_.dropout, key_, joined(k));
  }

  /// body(k) of each of the thread's vectors.
  template <class Body>
  DDPM_HOST_DEVICE void for_vectors(const Body& body) const {
    if (thread_ >= active_) return;
    for (int32_t k = 0; thread_ + k * active_ < vectors_; ++k) body(k);
  }

  template <class Body>
  DDPM_HOST_DEVICE void for_channels(const Body& body) const {
    for (int32_t c = thread_; c < slab_.channels; c += slab_.threads) body(c);
  }

  DDPM_HOST_DEVICE void begin_load(int32_t i, int32_t k, const T* from) const {
    begin_copy(&held(i, k), reinterpret_cast<const Vector*>(from));
  }
  DDPM_HOST_DEVICE void load_x() const {
    const T* x = part_of(memory_.x, memory_.skip);
    for_vectors([&](int32_t k) { begin_load(0, k, x + in_part(k)); });
  }

  /// A channel's parameters; the thread that loads them may use them at once.
  DDPM_HOST_DEVICE void load_parameters(int32_t c) const {
    const int64_t n = first_number_ + c;
    const GroupNormArgs<A>& from = image_args_;
    parameters_[c] = from.weight[first_channel_ + c];
    parameters_[slab_.channels + c] = from.bias[first_channel_ + c];
    if (from.add) parameters_[2 * slab_.channels + c] = from.add[n];
    if (from.scale) parameters_[3 * slab_.channels + c] = from.scale[n];
    if (from.shift) parameters_[4 * slab_.channels + c] = from.shift[n];
  }

  /// Coefficient j of the thread's channels.
  DDPM_HOST_DEVICE void read_coefficients(int32_t j, A (&k)[V]) const {
    for (int32_t i = 0; i < V; ++i) k[i] = args_.coefficients[j * slab_.channels + column_ + i];
  }

  // A sum over the pixels takes three phases. Each thread writes its own sums to rows_
  // [V][rows][lanes]; the rows are added to segments; the segments are added to one number per
  // channel.
  DDPM_HOST_DEVICE void put_row(const A (&sum)[V]) const {
    if (thread_ >= active_) return;
    for (int32_t i = 0; i < V; ++i) rows_[i * active_ + thread_] = sum[i];
  }
  DDPM_HOST_DEVICE void fold_rows() const {
    const int32_t step = kSlabSegments * slab_.lanes;
    for (int32_t j = thread_; j < V * step; j += slab_.threads) {
      const A* from = rows_ + j / step * active_;
      A sum{};
      for (int32_t k = j % step; k < active_; k += step) sum += from[k];
      folded_[j] = sum;
    }
  }
  DDPM_HOST_DEVICE double folded_sum(int32_t c) const {
    const double* from = folded_ + c % V * (kSlabSegments * slab_.lanes) + c / V;
    double sum = 0.0;
    for (int32_t i = 0; i < kSlabSegments; ++i) sum += from[i * slab_.lanes];
    return sum;
  }

  Slab slab_;
  int32_t thread_, active_, vectors_, column_;
  int64_t image_, first_channel_, first_number_, first_group_;
  int64_t offset_, step_;  ///< in memory, of the thread's first vector and from one to the next
  bool skip_;              ///< the thread's channels belong to the skip
  int64_t part_offset_, part_step_;
  int32_t image_bytes_;
  unsigned char* images_;
  double* folded_;
  GroupStatistics* statistics_;
  A *rows_, *parameters_;
  const GroupNormShape& image_shape_;
  RngKey key_;
  const GroupNormImages& memory_;
  const GroupNormArgs<A>& image_args_;
  GroupNormShape shape_;
  GroupNormArgs<A> args_;
};

}  // namespace ddpm::kernels
