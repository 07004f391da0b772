#pragma once

#include "../group_norm_math.h"
#include "group_norm_slab16_plan.h"
#include "group_norm_slab16_thread.h"
#include "vector.h"

#include <cstdint>
#include <type_traits>

// GroupNorm of images of 16-bit numbers, with one read and one write of memory. A thread block keeps
// a slab in its threads' registers: whole groups of one image, with all pixels. Sums are float32 and
// taken in one pass, of x minus the channel's first pixel, which is more than the numbers' own 8 or
// 11 bits need. (group_norm_slab.h, for float32 and float64, takes the mean first and works in
// float64.) With a = add - mean, r = rstd, w = weight (1 + scale), b = bias (1 + scale) + shift:
//   n = (x + a) r,  z = n w + b,  y = SiLU(z) or z;
//   dx = r (w dz - m1 - n m2),  with m1 and m2 a group's means of w dz and of w dz n.
// Each class below is what one thread knows. All threads of a block run phase(0) to phase(kPhases -
// 1); none begins a phase before all have ended the one before: __syncthreads() on a GPU, a loop over
// the threads in tests. A thread's vectors of 8 channels are worked on in pairs of channels, so that
// few coefficients are in registers at a time.

namespace ddpm::kernels {

template <class T, int N, bool kFull>
class Slab16Forward : Slab16Thread<T, 1, N, kFull> {
  using Base = Slab16Thread<T, 1, N, kFull>;
  using Base::s_, Base::args_, Base::slab_, Base::memory_, Base::shared_, Base::held_,
      Base::column_, Base::V;
  using typename Base::Vector;

 public:
  static constexpr int kPhases = 6;

  DDPM_HOST_DEVICE Slab16Forward(const GroupNormShape& s, const GroupNormArgs<float>& args,
                                 const Slab16& slab, const GroupNormImages& images, uint32_t block,
                                 int32_t thread, float* shared)
      : Base(s, args, slab, images, block, thread, shared) {}

  DDPM_HOST_DEVICE void phase(int i) {
    switch (i) {
      case 0:
        return load();
      case 1:
        return sums();
      case 2:
        return this->fold();
      case 3:
        return channel_moments();
      case 4:
        return coefficients();
      case 5:
        return this->with_kind([&](auto silu, auto dropout) { apply<silu(), dropout()>(); });
    }
  }

 private:
  DDPM_HOST_DEVICE void load() {
    this->load_x();
    this->for_channels([&](int32_t c) {
      const ImagePart part(s_, memory_.first, this->image_, this->first_channel_ + c);
      const auto* x = static_cast<const T*>(part.skip ? memory_.skip : memory_.x);
      shared_.origin[c] = static_cast<float>(x[part.offset]);
      this->load_affine(c);
    });
    this->draw_mask();
  }

  DDPM_HOST_DEVICE void sums() {
#pragma unroll
    for (int i = 0; i < V; i += 2) {
      const float origin[2]{shared_.origin[column_ + i], shared_.origin[column_ + i + 1]};
      float sum[2] = {}, square[2] = {};
#pragma unroll
      for (int k = 0; k < N; ++k) {
        if (!this->has(k)) continue;
        float x[2];
        unpack<T>(held_[0][k], i / 2, x);
        for (int j = 0; j < 2; ++j) {
          const float d = x[j] - origin[j];
          sum[j] += d;
          square[j] += d * d;
        }
      }
      for (int j = 0; j < 2; ++j) this->put_sums(i + j, sum[j], square[j]);
    }
  }

  // A channel's mean of x + add, and its squared deviations from it.
  DDPM_HOST_DEVICE void channel_moments() const {
    const auto pixels = static_cast<float>(s_.pixels);
    this->for_channels([&](int32_t c) {
      const float sum = this->folded(0, c), square = this->folded(1, c);
      const float mean = shared_.origin[c] + sum / pixels,
                  deviation = square - sum * (sum / pixels);
      args_.channel_mean[this->number_of(c)] = mean;
      shared_.mean[c] = mean + this->add_of(c);
      shared_.deviation[c] = deviation < 0.0f ? 0.0f : deviation;
    });
  }

  // Each channel's thread merges its group's moments: z = x k1 + k2.
  DDPM_HOST_DEVICE void coefficients() const {
    const auto size = static_cast<int32_t>(s_.group_size());
    this->for_channels([&](int32_t c) {
      const int32_t group = c / size, first = group * size;
      float mean = 0.0f, within = 0.0f, between = 0.0f;
      for (int32_t i = 0; i < size; ++i) mean += shared_.mean[first + i];
      mean /= static_cast<float>(size);
      for (int32_t i = 0; i < size; ++i) {
        const float distance = shared_.mean[first + i] - mean;
        within += shared_.deviation[first + i];
        between += distance * distance;
      }
      const auto pixels = static_cast<float>(s_.pixels);
      const float variance = (within + pixels * between) / (pixels * static_cast<float>(size));
      const float rstd = 1.0f / sqrtf(variance + static_cast<float>(s_.eps));
      if (c == first) {
        const int64_t g = this->image_ * s_.groups + this->first_group_ + group;
        args_.mean[g] = mean;
        args_.rstd[g] = rstd;
      }
      const float k1 = rstd * shared_.weight[c];
      shared_.k1[c] = k1;
      shared_.k2[c] = (this->add_of(c) - mean) * k1 + shared_.bias[c];
    });
  }

  template <bool kSilu, bool kDropout>
  DDPM_HOST_DEVICE void apply() {
#pragma unroll
    for (int i = 0; i < V; i += 2) {
      const float k1[2]{shared_.k1[column_ + i], shared_.k1[column_ + i + 1]};
      const float k2[2]{shared_.k2[column_ + i], shared_.k2[column_ + i + 1]};
#pragma unroll
      for (int k = 0; k < N; ++k) {
        float z[2];
        unpack<T>(held_[0][k], i / 2, z);
        for (int j = 0; j < 2; ++j) {
          z[j] = z[j] * k1[j] + k2[j];
          if constexpr (kSilu) z[j] *= sigmoid(z[j]);
          if constexpr (kDropout) z[j] *= this->factor(k, i + j);
        }
        pack<T>(z, i / 2, held_[0][k]);
      }
    }
    T* y = static_cast<T*>(memory_.y);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      if (this->has(k)) store_words(y + this->joined(k), held_[0][k]);
    }
  }
};

template <class T, int N, bool kFull>
class Slab16Backward : Slab16Thread<T, 2, N, kFull> {
  using Base = Slab16Thread<T, 2, N, kFull>;
  using Base::s_, Base::args_, Base::slab_, Base::memory_, Base::shared_, Base::held_,
      Base::column_, Base::V;
  using typename Base::Vector;

 public:
  static constexpr int kPhases = 6;

  DDPM_HOST_DEVICE Slab16Backward(const GroupNormShape& s, const GroupNormArgs<float>& args,
                                  const Slab16& slab, const GroupNormImages& images, uint32_t block,
                                  int32_t thread, float* shared)
      : Base(s, args, slab, images, block, thread, shared) {}

  DDPM_HOST_DEVICE void phase(int i) {
    switch (i) {
      case 0:
        return load();
      case 1:
        return this->with_kind([&](auto silu, auto dropout) { sums<silu(), dropout()>(); });
      case 2:
        return this->fold();
      case 3:
        return channel_sums();
      case 4:
        return coefficients();
      case 5:
        return this->with_kind([&](auto silu, auto dropout) { gradient<silu(), dropout()>(); });
    }
  }

 private:
  // n = x k1 + k2.
  DDPM_HOST_DEVICE void load() {
    this->load_x();
    const T* dy = static_cast<const T*>(memory_.dy);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      held_[1][k] = this->has(k) ? load_words(dy + this->joined(k)) : Vector{};
    }
    const auto size = static_cast<int32_t>(s_.group_size());
    this->for_channels([&](int32_t c) {
      const int64_t g = this->image_ * s_.groups + this->first_group_ + c / size;
      const auto rstd = static_cast<float>(args_.rstd[g]);
      shared_.k1[c] = rstd;
      shared_.k2[c] = (this->add_of(c) - static_cast<float>(args_.mean[g])) * rstd;
      this->load_affine(c);
    });
    this->draw_mask();
  }

  // The coefficients of two neighbouring channels.
  struct Affine {
    float k1[2], k2[2], w[2], b[2];
    DDPM_HOST_DEVICE Affine(const Slab16Shared& shared, int32_t c) {
      for (int j = 0; j < 2; ++j) {
        k1[j] = shared.k1[c + j], k2[j] = shared.k2[c + j];
        w[j] = shared.weight[c + j], b[j] = shared.bias[c + j];
      }
    }
  };
  // n and dz of channels i and i + 1 of vector k.
  template <bool kSilu, bool kDropout>
  DDPM_HOST_DEVICE void pair_of(int k, int i, const Affine& of, float (&n)[2],
                                float (&dz)[2]) const {
    unpack<T>(held_[0][k], i / 2, n);
    unpack<T>(held_[1][k], i / 2, dz);
    for (int j = 0; j < 2; ++j) {
      n[j] = n[j] * of.k1[j] + of.k2[j];
      if constexpr (kDropout) dz[j] *= this->factor(k, i + j);
      if constexpr (kSilu) dz[j] = through_silu(dz[j], n[j] * of.w[j] + of.b[j]);
    }
  }

  // Of dz and of dz n. Beyond the last pixel dy is 0.
  template <bool kSilu, bool kDropout>
  DDPM_HOST_DEVICE void sums() {
#pragma unroll
    for (int i = 0; i < V; i += 2) {
      const Affine of(shared_, column_ + i);
      float sum[2] = {}, product[2] = {};
#pragma unroll
      for (int k = 0; k < N; ++k) {
        float n[2], dz[2];
        pair_of<kSilu, kDropout>(k, i, of, n, dz);
        for (int j = 0; j < 2; ++j) {
          sum[j] += dz[j];
          product[j] += dz[j] * n[j];
        }
      }
      for (int j = 0; j < 2; ++j) this->put_sums(i + j, sum[j], product[j]);
    }
  }

  DDPM_HOST_DEVICE void channel_sums() const {
    this->for_channels([&](int32_t c) {
      const float sum = this->folded(0, c), product = this->folded(1, c);
      const int64_t at = this->number_of(c);
      const float factor = this->factor_of(c);
      args_.d_weight[at] = factor * product;
      args_.d_bias[at] = factor * sum;
      if (args_.d_scale) {
        args_.d_scale[at] = args_.weight[this->first_channel_ + c] * product +
                            args_.bias[this->first_channel_ + c] * sum;
      }
      if (args_.d_shift) args_.d_shift[at] = sum;
      shared_.mean[c] = shared_.weight[c] * sum;
      shared_.deviation[c] = shared_.weight[c] * product;
    });
  }

  // dx = dz q1 + q2 + n q3.
  DDPM_HOST_DEVICE void coefficients() const {
    const auto size = static_cast<int32_t>(s_.group_size());
    const auto pixels = static_cast<float>(s_.pixels);
    this->for_channels([&](int32_t c) {
      const int32_t first = c / size * size;
      float m1 = 0.0f, m2 = 0.0f;
      for (int32_t i = 0; i < size; ++i) {
        m1 += shared_.mean[first + i];
        m2 += shared_.deviation[first + i];
      }
      const float count = pixels * static_cast<float>(size), rstd = shared_.k1[c];
      m1 /= count, m2 /= count;
      shared_.q1[c] = rstd * shared_.weight[c];
      shared_.q2[c] = -rstd * m1;
      shared_.q3[c] = -rstd * m2;
      // The gradient of add is that of x, summed over the pixels.
      if (!args_.d_add) return;
      const int64_t at = this->number_of(c);
      const float n = static_cast<float>(args_.channel_mean[at]) * rstd + shared_.k2[c];
      args_.d_add[at] = rstd * (shared_.mean[c] - pixels * (m1 + n * m2));
    });
  }

  template <bool kSilu, bool kDropout>
  DDPM_HOST_DEVICE void gradient() {
    T* dx = static_cast<T*>(this->skip_ ? memory_.d_skip : memory_.dx);
    const T* addend = this->part_of(memory_.dx_addend, memory_.d_skip_addend);
#pragma unroll
    for (int i = 0; i < V; i += 2) {
      const Affine of(shared_, column_ + i);
      float q1[2], q2[2], q3[2];
      for (int j = 0; j < 2; ++j) {
        const int32_t c = column_ + i + j;
        q1[j] = shared_.q1[c], q2[j] = shared_.q2[c], q3[j] = shared_.q3[c];
      }
#pragma unroll
      for (int k = 0; k < N; ++k) {
        float n[2], dx[2];
        pair_of<kSilu, kDropout>(k, i, of, n, dx);
        for (int j = 0; j < 2; ++j) dx[j] = dx[j] * q1[j] + (q2[j] + n[j] * q3[j]);
        pack<T>(dx, i / 2, held_[0][k]);
      }
    }
#pragma unroll
    for (int k = 0; k < N; ++k) {
      if (!this->has(k)) continue;
      Vector out = held_[0][k];
      if (addend) {
        const Vector other = load_words(addend + this->in_part(k));
        for (int p = 0; p < V / 2; ++p) {
          float sum[2], more[2];
          unpack<T>(out, p, sum);
          unpack<T>(other, p, more);
          for (int j = 0; j < 2; ++j) sum[j] += more[j];
          pack<T>(sum, p, out);
        }
      }
      store_words(dx + this->in_part(k), out);
    }
  }
};

/// by(N, full), as constants, of a slab.
template <class By>
void with_held(const Slab16& slab, const By& by) {
  const auto with = [&](auto n) {
    if (slab.full) return by(n, std::bool_constant<true>{});
    by(n, std::bool_constant<false>{});
  };
  switch (slab.held) {
    case 1:
      return with(std::integral_constant<int, 1>{});
    case 2:
      return with(std::integral_constant<int, 2>{});
    case 4:
      return with(std::integral_constant<int, 4>{});
    default:
      return with(std::integral_constant<int, 8>{});
  }
}

}  // namespace ddpm::kernels
