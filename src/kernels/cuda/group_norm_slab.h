#pragma once

#include "../group_norm_math.h"
#include "group_norm_slab_plan.h"

#include <cmath>
#include <cstdint>
#include <type_traits>

#ifdef __CUDACC__
#include <cuda_pipeline_primitives.h>
#endif

// GroupNorm with one read and one write of memory: a block of threads keeps a slab (whole groups of
// an image, all pixels) in shared memory. Each class below is what one thread knows; phase(0) to
// phase(kPhases - 1) are run by all threads of a block, none beginning before the last has ended:
// on a GPU __syncthreads() is between, on a host (tests/kernels/group_norm_slab_test.cpp) a loop.
//
// Memory: a warp reads runs of a slab's width, whole sectors wherever the plan can, 16 bytes a
// thread; neighbouring slabs are neighbours in the grid, so that what they share is still in L2.
// Shared memory: threads hold consecutive vectors (slab [pixels][lanes]) and consecutive sums
// (rows [V][rows][lanes]): no bank is asked twice. Every sum has one fixed order.

namespace ddpm::kernels {

/// V numbers as one load or store.
template <class T, int V>
struct alignas(sizeof(T) * V) Pack {
  T v[V];
};

/// To shared memory, past the registers (cp.async) where there is such an instruction; only the
/// thread itself sees it after end_copies, the others after the phase.
template <class P>
DDPM_HOST_DEVICE void begin_copy(P* to, const P* from) {
#ifdef __CUDA_ARCH__
  if constexpr (sizeof(P) >= 4) {
    __pipeline_memcpy_async(to, from, sizeof(P));
  } else {
    *to = *from;
  }
#else
  *to = *from;
#endif
}

DDPM_HOST_DEVICE inline void end_copies() {
#ifdef __CUDA_ARCH__
  __pipeline_commit();
  __pipeline_wait_prior(0);
#endif
}

DDPM_HOST_DEVICE inline double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

/// On a GPU by approximations, without which arithmetic would take longer than memory: relative
/// error below (5 + 1.2 |x|) 2^-23 by the bounds of the CUDA C++ Programming Guide, and 0 instead
/// of what is below 2^-126.
DDPM_HOST_DEVICE inline float sigmoid(float x) {
#ifdef __CUDA_ARCH__
  return __fdividef(1.0f, 1.0f + __expf(-x));
#else
  return 1.0f / (1.0f + std::exp(-x));
#endif
}

/// dz from dy: d SiLU(z) / dz = s (1 + z (1 - s)), s = sigmoid(z).
template <class A>
DDPM_HOST_DEVICE A through_silu(A dy, A z) {
  const A s = sigmoid(z);
  return dy * (s * (A(1) + z * (A(1) - s)));
}

/// What the threads of both passes know. T: in memory; A: sums; V: channels a vector.
template <class T, class A, int V>
class SlabThread {
 protected:
  using Vector = Pack<T, V>;

  DDPM_HOST_DEVICE SlabThread(const GroupNormShape& whole, const GroupNormArgs<A>& args,
                              const Slab& slab, int32_t images, uint32_t block, int32_t thread,
                              unsigned char* shared)
      : slab_(slab),
        thread_(thread),
        active_(slab.lanes * slab.rows),
        vectors_(static_cast<int32_t>(whole.pixels) * slab.lanes),
        column_(thread % slab.lanes * V),
        whole_args_(args) {
    const SlabOffsets at(slab, static_cast<int32_t>(whole.pixels), images, sizeof(T), sizeof(A));
    const uint32_t slabs = static_cast<uint32_t>(whole.groups) / slab.groups;
    const int64_t b = block / slabs, i = block % slabs;
    const int64_t first = i * slab.channels;  // channel of the image
    first_channel_ = first;
    first_number_ = b * whole.channels + first;
    first_group_ = b * whole.groups + i * slab.groups;
    offset_ =
        b * whole.pixels * whole.channels + first + thread / slab.lanes * whole.channels + column_;
    step_ = slab.rows * whole.channels;
    images_ = shared;
    image_bytes_ = at.image;
    folded_ = reinterpret_cast<double*>(shared + at.folded);
    statistics_ = reinterpret_cast<GroupStatistics*>(shared + at.statistics);
    rows_ = reinterpret_cast<A*>(shared + at.rows);
    parameters_ = reinterpret_cast<A*>(shared + at.parameters);
    // The slab as an image of its own, to which group_norm_math.h applies.
    shape_ = {1, whole.pixels, slab.channels, slab.groups, whole.pixels, whole.eps, whole.silu};
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

  DDPM_HOST_DEVICE Vector* image(int32_t i) const {
    return reinterpret_cast<Vector*>(images_ + i * image_bytes_);
  }

  /// body(index in the slab, offset in memory) of each of the thread's vectors.
  template <class Body>
  DDPM_HOST_DEVICE void for_vectors(const Body& body) const {
    if (thread_ >= active_) return;
    int64_t at = offset_;
    for (int32_t i = thread_; i < vectors_; i += active_, at += step_) body(i, at);
  }

  template <class Body>
  DDPM_HOST_DEVICE void for_channels(const Body& body) const {
    for (int32_t c = thread_; c < slab_.channels; c += slab_.threads) body(c);
  }

  DDPM_HOST_DEVICE void begin_load(const T* from, Vector* to) const {
    for_vectors([&](int32_t i, int64_t at) {
      begin_copy(to + i, reinterpret_cast<const Vector*>(from + at));
    });
  }

  /// A channel's parameters; the thread that loads them may use them at once.
  DDPM_HOST_DEVICE void load_parameters(int32_t c) const {
    const int64_t n = first_number_ + c;
    const GroupNormArgs<A>& from = whole_args_;
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

  // A sum over the pixels takes three phases: the threads' own into rows_ [V][rows][lanes], these
  // into segments, and those into one number a channel.
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
  int64_t first_channel_, first_number_, first_group_;
  int64_t offset_, step_;  ///< in memory, of the thread's first vector and from one to the next
  int32_t image_bytes_;
  unsigned char* images_;
  double* folded_;
  GroupStatistics* statistics_;
  A *rows_, *parameters_;
  const GroupNormArgs<A>& whole_args_;
  GroupNormShape shape_;
  GroupNormArgs<A> args_;
};

template <class T, class A, int V>
class SlabForward : SlabThread<T, A, V> {
  using Base = SlabThread<T, A, V>;
  using Base::args_, Base::shape_, Base::column_;
  using typename Base::Vector;

 public:
  static constexpr int kPhases = 10;

  DDPM_HOST_DEVICE SlabForward(const GroupNormShape& shape, const GroupNormArgs<A>& args,
                               const Slab& slab, const T* x, T* y, uint32_t block, int32_t thread,
                               unsigned char* shared)
      : Base(shape, args, slab, 1, block, thread, shared), x_(x), y_(y) {}

  DDPM_HOST_DEVICE void phase(int i) {
    switch (i) {
      case 0:
        return load();
      case 1:
        return sum();
      case 2:
      case 5:
        return this->fold_rows();
      case 3:
        return channel_means();
      case 4:
        return squares();
      case 6:
        return deviations();
      case 7:
        return group_moments();
      case 8:
        return coefficients();
      case 9:
        return apply();
    }
  }

 private:
  DDPM_HOST_DEVICE void load() const {
    this->begin_load(x_, this->image(0));
    this->for_channels([&](int32_t c) { this->load_parameters(c); });
    end_copies();
  }

  // Of x less the channel's first pixel, so that a mean far from 0 costs no digits.
  DDPM_HOST_DEVICE A origin(int32_t c) const {
    return static_cast<A>(this->image(0)[c / V].v[c % V]);
  }
  DDPM_HOST_DEVICE void sum() const {
    A first[V], sum[V] = {};
    for (int i = 0; i < V; ++i) first[i] = origin(column_ + i);
    this->for_vectors([&](int32_t at, int64_t) {
      const Vector x = this->image(0)[at];
      for (int i = 0; i < V; ++i) sum[i] += static_cast<A>(x.v[i]) - first[i];
    });
    this->put_row(sum);
  }
  DDPM_HOST_DEVICE void channel_means() const {
    this->for_channels([&](int32_t c) {
      const double sum = this->folded_sum(c);
      const double mean = origin(c) + sum / static_cast<double>(shape_.pixels);
      args_.partial[2 * c] = args_.channel_mean[c] = mean;
    });
  }

  // From the mean as A has it.
  DDPM_HOST_DEVICE void squares() const {
    A mean[V], sum[V] = {};
    for (int i = 0; i < V; ++i) mean[i] = static_cast<A>(args_.partial[2 * (column_ + i)]);
    this->for_vectors([&](int32_t at, int64_t) {
      const Vector x = this->image(0)[at];
      for (int i = 0; i < V; ++i) {
        const A d = static_cast<A>(x.v[i]) - mean[i];
        sum[i] += d * d;
      }
    });
    this->put_row(sum);
  }
  DDPM_HOST_DEVICE void deviations() const {
    this->for_channels([&](int32_t c) {
      const double mean = args_.partial[2 * c], off = mean - static_cast<A>(mean);
      const double deviation = this->folded_sum(c) - static_cast<double>(shape_.pixels) * off * off;
      args_.partial[2 * c + 1] = deviation < 0 ? 0 : deviation;
    });
  }

  DDPM_HOST_DEVICE void group_moments() const {
    const int32_t groups = this->slab_.groups;
    for (int32_t g = this->thread_; g < groups; g += this->slab_.threads) {
      const GroupStatistics group = pooled_statistics(shape_, args_, 0, g);
      this->statistics_[g] = group;
      args_.mean[g] = group.mean;
      args_.rstd[g] = group.rstd;
    }
  }
  DDPM_HOST_DEVICE void coefficients() const {
    const int32_t size = this->slab_.channels / this->slab_.groups;
    this->for_channels(
        [&](int32_t c) { channel_affine(shape_, args_, 0, c, this->statistics_[c / size]); });
  }

  DDPM_HOST_DEVICE void apply() const {
    A k0[V], k1[V], k2[V];
    this->read_coefficients(0, k0);
    this->read_coefficients(1, k1);
    this->read_coefficients(2, k2);
    this->for_vectors([&](int32_t from, int64_t to) {
      Vector x = this->image(0)[from];
      A z[V];
      for (int i = 0; i < V; ++i) z[i] = (static_cast<A>(x.v[i]) - k0[i]) * k1[i] + k2[i];
      if (shape_.silu) {
        for (int i = 0; i < V; ++i) z[i] *= sigmoid(z[i]);
      }
      for (int i = 0; i < V; ++i) x.v[i] = static_cast<T>(z[i]);
      *reinterpret_cast<Vector*>(y_ + to) = x;
    });
  }

  const T* x_;
  T* y_;
};

template <class T, class A, int V>
class SlabBackward : SlabThread<T, A, V> {
  using Base = SlabThread<T, A, V>;
  using Base::args_, Base::shape_;
  using typename Base::Vector;

 public:
  static constexpr int kPhases = 8;

  DDPM_HOST_DEVICE SlabBackward(const GroupNormShape& shape, const GroupNormArgs<A>& args,
                                const Slab& slab, const T* x, const T* dy, T* dx, uint32_t block,
                                int32_t thread, unsigned char* shared)
      : Base(shape, args, slab, 2, block, thread, shared), x_(x), dy_(dy), dx_(dx) {}

  DDPM_HOST_DEVICE void phase(int i) {
    switch (i) {
      case 0:
        return load();
      case 1:
        return sums();
      case 2:
      case 4:
        return this->fold_rows();
      case 3:
        finish_sum(0);
        return this->put_row(product_);
      case 5:
        return finish_sum(1);
      case 6:
        return coefficients();
      case 7:
        return gradient();
    }
  }

 private:
  DDPM_HOST_DEVICE void load() const {
    this->begin_load(x_, this->image(0));
    this->begin_load(dy_, this->image(1));
    this->for_channels([&](int32_t c) {
      this->load_parameters(c);
      const GroupStatistics group = saved_statistics(shape_, args_, 0, group_of(c));
      this->statistics_[c] = group;
      channel_affine(shape_, args_, 0, c, group);
    });
    end_copies();
  }
  DDPM_HOST_DEVICE int32_t group_of(int32_t c) const {
    return c / (this->slab_.channels / this->slab_.groups);
  }

  // Sums of dz and of dz (x - k0). dz takes the place of dy where that is not rounded.
  static constexpr bool kKeepsDz = std::is_same_v<T, A>;
  DDPM_HOST_DEVICE void sums() {
    A k0[V], k1[V], k2[V], sum[V] = {};
    for (int i = 0; i < V; ++i) product_[i] = A(0);
    this->read_coefficients(0, k0);
    this->read_coefficients(1, k1);
    this->read_coefficients(2, k2);
    this->for_vectors([&](int32_t at, int64_t) {
      const Vector x = this->image(0)[at];
      Vector dy = this->image(1)[at];
      A d[V], dz[V];
      for (int i = 0; i < V; ++i) {
        d[i] = static_cast<A>(x.v[i]) - k0[i];
        dz[i] = static_cast<A>(dy.v[i]);
      }
      if (shape_.silu) {
        for (int i = 0; i < V; ++i) dz[i] = through_silu(dz[i], d[i] * k1[i] + k2[i]);
      }
      for (int i = 0; i < V; ++i) {
        sum[i] += dz[i];
        product_[i] += dz[i] * d[i];
        if constexpr (kKeepsDz) dy.v[i] = dz[i];
      }
      if constexpr (kKeepsDz) this->image(1)[at] = dy;
    });
    this->put_row(sum);
  }
  DDPM_HOST_DEVICE void finish_sum(int32_t which) const {
    this->for_channels([&](int32_t c) { args_.partial[2 * c + which] = this->folded_sum(c); });
  }

  DDPM_HOST_DEVICE void coefficients() const {
    this->for_channels([&](int32_t c) {
      const GroupStatistics group = this->statistics_[c];
      channel_gradient(shape_, args_, 0, c, group,
                       group_gradient(shape_, args_, 0, group_of(c), group));
    });
  }

  DDPM_HOST_DEVICE void gradient() const {
    A k0[V], k1[V], k2[V], k3[V], k4[V];
    this->read_coefficients(0, k0);
    this->read_coefficients(1, k1);
    this->read_coefficients(2, k2);
    this->read_coefficients(3, k3);
    this->read_coefficients(4, k4);
    this->for_vectors([&](int32_t from, int64_t to) {
      Vector x = this->image(0)[from];
      const Vector dy = this->image(1)[from];
      A d[V], dz[V];
      for (int i = 0; i < V; ++i) {
        d[i] = static_cast<A>(x.v[i]) - k0[i];
        dz[i] = static_cast<A>(dy.v[i]);
      }
      if (!kKeepsDz && shape_.silu) {
        for (int i = 0; i < V; ++i) dz[i] = through_silu(dz[i], d[i] * k1[i] + k2[i]);
      }
      for (int i = 0; i < V; ++i) x.v[i] = static_cast<T>(k1[i] * dz[i] + (k3[i] + d[i] * k4[i]));
      *reinterpret_cast<Vector*>(dx_ + to) = x;
    });
  }

  const T *x_, *dy_;
  T* dx_;
  A product_[V];
};

}  // namespace ddpm::kernels
