#pragma once

#include "../group_norm_math.h"
#include "group_norm_slab_plan.h"
#include "group_norm_slab_thread.h"
#include "vector.h"

#include <cstdint>
#include <type_traits>

// GroupNorm with one read and one write of memory, for float32 and float64 (16-bit numbers have
// group_norm_slab16.h, and this where they do not fit there). A thread block keeps a slab in shared memory:
// whole groups of one image, with all pixels. There it computes the mean, the squared deviations
// from it and the result; for the backward pass, the two sums and the gradient. group_norm_math.h
// has the formulas.
// Each class below is what one thread knows. All threads of a block run phase(0) to phase(kPhases -
// 1); none begins a phase before all have ended the one before. On a GPU __syncthreads() separates
// the phases; on a host (tests/kernels/group_norm_slab_test.cpp) each is a loop over the threads.

namespace ddpm::kernels {

template <class T, class A, int V>
class SlabForward : SlabThread<T, A, V, 1> {
  using Base = SlabThread<T, A, V, 1>;
  using Base::args_, Base::shape_, Base::column_;
  using typename Base::Vector;

 public:
  static constexpr int kPhases = 10;

  DDPM_HOST_DEVICE SlabForward(const GroupNormShape& shape, const GroupNormArgs<A>& args,
                               const Slab& slab, const GroupNormImages& images, uint32_t block,
                               int32_t thread, unsigned char* shared)
      : Base(shape, args, slab, images, block, thread, shared) {}

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
  DDPM_HOST_DEVICE void load() {
    this->load_x();
    this->for_channels([&](int32_t c) {
      this->load_parameters(c);
      // The channel's first pixel: sums are of x minus it, so that a mean far from 0 loses no digits.
      const ImagePart part = this->part_of_channel(c);
      const void* from = part.skip ? this->memory_.skip : this->memory_.x;
      args_.partial[2 * c] = static_cast<A>(static_cast<const T*>(from)[part.offset]);
    });
    end_copies();
  }

  DDPM_HOST_DEVICE void sum() {
    A first[V], sum[V] = {};
    for (int i = 0; i < V; ++i) first[i] = static_cast<A>(args_.partial[2 * (column_ + i)]);
    this->for_vectors([&](int32_t k) {
      const Vector x = this->held(0, k);
      for (int i = 0; i < V; ++i) sum[i] += static_cast<A>(x.v[i]) - first[i];
    });
    this->put_row(sum);
  }
  DDPM_HOST_DEVICE void channel_means() const {
    this->for_channels([&](int32_t c) {
      const double sum = this->folded_sum(c);
      const double mean = args_.partial[2 * c] + sum / static_cast<double>(shape_.pixels);
      args_.partial[2 * c] = args_.channel_mean[c] = mean;
    });
  }

  // Of the deviations from the mean, rounded to A.
  DDPM_HOST_DEVICE void squares() {
    A mean[V], sum[V] = {};
    for (int i = 0; i < V; ++i) mean[i] = static_cast<A>(args_.partial[2 * (column_ + i)]);
    this->for_vectors([&](int32_t k) {
      const Vector x = this->held(0, k);
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

  DDPM_HOST_DEVICE void apply() {
    T* y = static_cast<T*>(this->memory_.y);
    A k0[V], k1[V], k2[V];
    this->read_coefficients(0, k0);
    this->read_coefficients(1, k1);
    this->read_coefficients(2, k2);
    this->for_vectors([&](int32_t k) {
      Vector x = this->held(0, k);
      A z[V];
      for (int i = 0; i < V; ++i) z[i] = (static_cast<A>(x.v[i]) - k0[i]) * k1[i] + k2[i];
      if (shape_.silu) {
        for (int i = 0; i < V; ++i) z[i] *= sigmoid(z[i]);
      }
      this->drop_if_asked(z, k);
      for (int i = 0; i < V; ++i) x.v[i] = static_cast<T>(z[i]);
      *reinterpret_cast<Vector*>(y + this->joined(k)) = x;
    });
  }
};

template <class T, class A, int V>
class SlabBackward : SlabThread<T, A, V, 2> {
  using Base = SlabThread<T, A, V, 2>;
  using Base::args_, Base::shape_;
  using typename Base::Vector;

 public:
  static constexpr int kPhases = 8;

  DDPM_HOST_DEVICE SlabBackward(const GroupNormShape& shape, const GroupNormArgs<A>& args,
                                const Slab& slab, const GroupNormImages& images, uint32_t block,
                                int32_t thread, unsigned char* shared)
      : Base(shape, args, slab, images, block, thread, shared) {}

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
  DDPM_HOST_DEVICE void load() {
    const T* dy = static_cast<const T*>(this->memory_.dy);
    this->load_x();
    this->for_vectors([&](int32_t k) { this->begin_load(1, k, dy + this->joined(k)); });
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

  // Sums of dz and of dz (x - k0). dz replaces dy in shared memory if it is not rounded there.
  static constexpr bool kKeepsDz = std::is_same_v<T, A>;
  DDPM_HOST_DEVICE void sums() {
    A k0[V], k1[V], k2[V], sum[V] = {};
    for (int i = 0; i < V; ++i) product_[i] = A(0);
    this->read_coefficients(0, k0);
    this->read_coefficients(1, k1);
    this->read_coefficients(2, k2);
    this->for_vectors([&](int32_t k) {
      const Vector x = this->held(0, k);
      Vector dy = this->held(1, k);
      A d[V], dz[V];
      for (int i = 0; i < V; ++i) {
        d[i] = static_cast<A>(x.v[i]) - k0[i];
        dz[i] = static_cast<A>(dy.v[i]);
      }
      this->drop_if_asked(dz, k);
      if (shape_.silu) {
        for (int i = 0; i < V; ++i) dz[i] = through_silu(dz[i], d[i] * k1[i] + k2[i]);
      }
      for (int i = 0; i < V; ++i) {
        sum[i] += dz[i];
        product_[i] += dz[i] * d[i];
        if constexpr (kKeepsDz) dy.v[i] = dz[i];
      }
      if constexpr (kKeepsDz) this->held(1, k) = dy;
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

  DDPM_HOST_DEVICE void gradient() {
    const GroupNormImages& memory = this->memory_;
    T* dx = static_cast<T*>(this->skip_ ? memory.d_skip : memory.dx);
    const T* addend = this->part_of(memory.dx_addend, memory.d_skip_addend);
    A k0[V], k1[V], k2[V], k3[V], k4[V];
    this->read_coefficients(0, k0);
    this->read_coefficients(1, k1);
    this->read_coefficients(2, k2);
    this->read_coefficients(3, k3);
    this->read_coefficients(4, k4);
    this->for_vectors([&](int32_t k) {
      Vector x = this->held(0, k), more{};
      const Vector dy = this->held(1, k);
      if (addend) more = *reinterpret_cast<const Vector*>(addend + this->in_part(k));
      A d[V], dz[V];
      for (int i = 0; i < V; ++i) {
        d[i] = static_cast<A>(x.v[i]) - k0[i];
        dz[i] = static_cast<A>(dy.v[i]);
      }
      if constexpr (!kKeepsDz) {
        this->drop_if_asked(dz, k);
        if (shape_.silu) {
          for (int i = 0; i < V; ++i) dz[i] = through_silu(dz[i], d[i] * k1[i] + k2[i]);
        }
      }
      for (int i = 0; i < V; ++i) {
        const A gradient = k1[i] * dz[i] + (k3[i] + d[i] * k4[i]);
        x.v[i] = static_cast<T>(addend ? gradient + static_cast<A>(more.v[i]) : gradient);
      }
      *reinterpret_cast<Vector*>(dx + this->in_part(k)) = x;
    });
  }

  A product_[V];
};

}  // namespace ddpm::kernels
