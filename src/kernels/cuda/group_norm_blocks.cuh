#pragma once

#include "../group_norm_math.h"
#include "check.h"
#include "vector.h"

#include <stdexcept>

#include <cuda_runtime.h>

// GroupNorm for images of which no slab fits on chip (group_norm_slab.h). As on the CPU
// (cpu/group_norm.cpp): a pass over blocks of pixels for the sums, the arithmetic of
// group_norm_math.h, and a second pass for the result. One thread block works on one block of
// pixels; the grid has the blocks of the first image, then those of the next. Its threads lie along
// the channels, V channels each (16 bytes), then along the pixels (rows). Sums have a fixed order.

namespace ddpm::kernels::cuda {

constexpr int kThreads = 256;

template <class A, class T, int V>
__device__ void load(const T* from, A (&to)[V]) {
  const auto pack = *reinterpret_cast<const Pack<T, V>*>(from);
  for (int i = 0; i < V; ++i) to[i] = static_cast<A>(pack.v[i]);
}

template <class A, class T, int V>
__device__ void store(T* to, const A (&from)[V]) {
  Pack<T, V> pack;
  for (int i = 0; i < V; ++i) pack.v[i] = static_cast<T>(from[i]);
  if constexpr (sizeof(pack) == sizeof(Words16)) {
    Words16 words;
    memcpy(&words, &pack, sizeof(words));
    store_words(to, words);
  } else {
    *reinterpret_cast<Pack<T, V>*>(to) = pack;
  }
}

/// A thread's part of a block of pixels.
struct Work {
  int64_t b, block;
  int64_t offset;  // of the block's first element
  int64_t pixels;
  int64_t lanes, rows, row;
  int64_t first;  // the thread's first channel, in units of V
  __device__ Work(const GroupNormShape& s, int vector)
      : b(blockIdx.x / s.blocks()),
        block(blockIdx.x % s.blocks()),
        offset((b * s.pixels + block * s.block) * s.channels),
        pixels(s.block_pixels(block)) {
    const int64_t across = s.channels / vector;
    lanes = across < kThreads ? across : kThreads;
    rows = kThreads / lanes;
    row = threadIdx.x / lanes;
    first = threadIdx.x % lanes;
  }
};

/// Of a thread's V channels from c on: where they lie in x, in their part of it, at pixel 0 of the
/// block.
template <class T>
struct Place {
  bool skip;
  int64_t stride, offset;
  __device__ Place(const GroupNormShape& s, const GroupNormImages& m, const Work& work, int64_t c) {
    const ImagePart part(s, m.first, work.b, c);
    skip = part.skip;
    stride = part.channels;
    offset = part.offset + work.block * s.block * stride;
  }
  __device__ const T* in(const void* x, const void* of_skip) const {
    const auto* p = static_cast<const T*>(skip ? of_skip : x);
    return p ? p + offset : nullptr;
  }
};

/// Adds the rows' pairs of sums in the order of the rows; row 0 gets the result.
template <class A, int V>
__device__ void add_rows(const Work& work, A (&sum)[V], A (&second)[V]) {
  __shared__ A shared[2 * V * kThreads];
  // The readers of the last round are done.
  __syncthreads();
  for (int i = 0; i < V; ++i) {
    shared[(2 * i) * kThreads + threadIdx.x] = sum[i];
    shared[(2 * i + 1) * kThreads + threadIdx.x] = second[i];
  }
  __syncthreads();
  if (work.row != 0) return;
  for (int64_t r = 1; r < work.rows; ++r) {
    for (int i = 0; i < V; ++i) {
      sum[i] += shared[(2 * i) * kThreads + r * work.lanes + work.first];
      second[i] += shared[(2 * i + 1) * kThreads + r * work.lanes + work.first];
    }
  }
}

template <class T, class A, int V>
__global__ void moments_kernel(GroupNormShape s, GroupNormArgs<A> a, GroupNormImages m) {
  const Work work(s, V);
  for (int64_t round = 0; round < s.channels / V; round += work.lanes) {
    const int64_t c = (round + work.first) * V;
    const bool mine = work.row < work.rows && c < s.channels;
    A origin[V] = {}, sum[V] = {}, square[V] = {};
    if (mine) {
      const Place<T> place(s, m, work, c);
      const T* x = place.in(m.x, m.skip);
      load(x, origin);
      for (int64_t p = work.row; p < work.pixels; p += work.rows) {
        A v[V];
        load(x + p * place.stride, v);
        for (int i = 0; i < V; ++i) {
          const A d = v[i] - origin[i];
          sum[i] += d;
          square[i] += d * d;
        }
      }
    }
    add_rows(work, sum, square);
    if (!mine || work.row != 0) continue;
    double* partial = a.partial_of(s, work.b, work.block, c);
    for (int i = 0; i < V; ++i) {
      const A mean = sum[i] / static_cast<A>(work.pixels);
      const A deviation = square[i] - sum[i] * mean;
      partial[2 * i] = origin[i] + mean;
      partial[2 * i + 1] = deviation < A(0) ? A(0) : deviation;
    }
  }
}

// One thread block per image, one thread per channel.
template <class A>
__global__ void finish_forward_kernel(GroupNormShape s, GroupNormArgs<A> a) {
  const int64_t b = blockIdx.x;
  for (int64_t c = threadIdx.x; c < s.channels; c += kThreads) pool_moments(s, a, b, c);
  __syncthreads();
  for (int64_t c = threadIdx.x; c < s.channels; c += kThreads) {
    const int64_t g = c / s.group_size();
    const GroupStatistics group = pooled_statistics(s, a, b, g);
    channel_affine(s, a, b, c, group);
    if (c % s.group_size() != 0) continue;
    a.mean[b * s.groups + g] = group.mean;
    a.rstd[b * s.groups + g] = group.rstd;
  }
}

template <class A>
__global__ void finish_backward_kernel(GroupNormShape s, GroupNormArgs<A> a) {
  const int64_t b = blockIdx.x;
  for (int64_t c = threadIdx.x; c < s.channels; c += kThreads) merge_sums(s, a, b, c);
  __syncthreads();
  for (int64_t c = threadIdx.x; c < s.channels; c += kThreads) {
    const int64_t g = c / s.group_size();
    const GroupStatistics group = saved_statistics(s, a, b, g);
    channel_affine(s, a, b, c, group);
    channel_gradient(s, a, b, c, group, group_gradient(s, a, b, g, group));
  }
}

/// Coefficient j of the V channels from c on.
template <class A, int V>
__device__ void read_coefficients(const GroupNormShape& s, const GroupNormArgs<A>& a, int64_t b,
                                  int j, int64_t c, A (&k)[V]) {
  const A* from = a.coefficients_of(s, b) + j * s.channels + c;
  for (int i = 0; i < V; ++i) k[i] = from[i];
}

template <class T, class A, int V>
__global__ void apply_kernel(GroupNormShape s, GroupNormArgs<A> a, GroupNormImages m) {
  const Work work(s, V);
  if (work.row >= work.rows) return;
  const RngKey key = dropout_key(m.dropout);
  T* y = static_cast<T*>(m.y);
  for (int64_t c = work.first * V; c < s.channels; c += work.lanes * V) {
    A k0[V], k1[V], k2[V], v[V];
    read_coefficients(s, a, work.b, 0, c, k0);
    read_coefficients(s, a, work.b, 1, c, k1);
    read_coefficients(s, a, work.b, 2, c, k2);
    const Place<T> place(s, m, work, c);
    const T* x = place.in(m.x, m.skip);
    for (int64_t p = work.row; p < work.pixels; p += work.rows) {
      const int64_t at = work.offset + p * s.channels + c;
      load(x + p * place.stride, v);
      for (int i = 0; i < V; ++i) v[i] = (v[i] - k0[i]) * k1[i] + k2[i];
      if (s.silu) {
        for (int i = 0; i < V; ++i) v[i] *= sigmoid(v[i]);
      }
      if (m.dropout.key) drop(v, m.dropout, key, at);
      store(y + at, v);
    }
  }
}

// Each thread computes its channels' coefficients itself, which saves a launch before this one.
template <class T, class A, int V>
__global__ void sums_kernel(GroupNormShape s, GroupNormArgs<A> a, GroupNormImages m) {
  const Work work(s, V);
  const RngKey key = dropout_key(m.dropout);
  const T* dy = static_cast<const T*>(m.dy);
  for (int64_t round = 0; round < s.channels / V; round += work.lanes) {
    const int64_t c = (round + work.first) * V;
    const bool mine = work.row < work.rows && c < s.channels;
    A sum[V] = {}, product[V] = {};
    ChannelAffine<A> k[V];
    for (int i = 0; mine && i < V; ++i) {
      const GroupStatistics group = saved_statistics(s, a, work.b, (c + i) / s.group_size());
      k[i] = affine_of(s, a, work.b, c + i, group);
    }
    const Place<T> place(s, m, work, mine ? c : 0);
    const T* x = place.in(m.x, m.skip);
    for (int64_t p = work.row; mine && p < work.pixels; p += work.rows) {
      const int64_t at = work.offset + p * s.channels + c;
      A v[V], dz[V];
      load(x + p * place.stride, v);
      load(dy + at, dz);
      if (m.dropout.key) drop(dz, m.dropout, key, at);
      for (int i = 0; i < V; ++i) v[i] -= k[i].k0;
      if (s.silu) {
        for (int i = 0; i < V; ++i) dz[i] = through_silu(dz[i], v[i] * k[i].k1 + k[i].k2);
      }
      for (int i = 0; i < V; ++i) {
        sum[i] += dz[i];
        product[i] += dz[i] * v[i];
      }
    }
    add_rows(work, sum, product);
    if (!mine || work.row != 0) continue;
    double* partial = a.partial_of(s, work.b, work.block, c);
    for (int i = 0; i < V; ++i) {
      partial[2 * i] = sum[i];
      partial[2 * i + 1] = product[i];
    }
  }
}

template <class T, class A, int V>
__global__ void gradient_kernel(GroupNormShape s, GroupNormArgs<A> a, GroupNormImages m) {
  const Work work(s, V);
  if (work.row >= work.rows) return;
  const RngKey key = dropout_key(m.dropout);
  const T* dy = static_cast<const T*>(m.dy);
  for (int64_t c = work.first * V; c < s.channels; c += work.lanes * V) {
    A k0[V], k1[V], k2[V], k3[V], k4[V];
    read_coefficients(s, a, work.b, 0, c, k0);
    read_coefficients(s, a, work.b, 1, c, k1);
    read_coefficients(s, a, work.b, 2, c, k2);
    read_coefficients(s, a, work.b, 3, c, k3);
    read_coefficients(s, a, work.b, 4, c, k4);
    const Place<T> place(s, m, work, c);
    const T *x = place.in(m.x, m.skip), *addend = place.in(m.dx_addend, m.d_skip_addend);
    T* dx = static_cast<T*>(place.skip ? m.d_skip : m.dx) + place.offset;
    for (int64_t p = work.row; p < work.pixels; p += work.rows) {
      const int64_t at = work.offset + p * s.channels + c;
      A v[V], dz[V], more[V] = {};
      load(x + p * place.stride, v);
      load(dy + at, dz);
      if (addend) load(addend + p * place.stride, more);
      if (m.dropout.key) drop(dz, m.dropout, key, at);
      for (int i = 0; i < V; ++i) v[i] -= k0[i];
      if (s.silu) {
        for (int i = 0; i < V; ++i) dz[i] = through_silu(dz[i], v[i] * k1[i] + k2[i]);
      }
      for (int i = 0; i < V; ++i) {
        v[i] = k1[i] * dz[i] + (k3[i] + v[i] * k4[i]);
        if (addend) v[i] += more[i];
      }
      store(dx + p * place.stride, v);
    }
  }
}

inline unsigned thread_blocks(const GroupNormShape& s) {
  if (s.batch > ((int64_t{1} << 31) - 1) / s.blocks()) {
    throw std::runtime_error("group_norm: " + std::to_string(s.batch) + " images of " +
                             std::to_string(s.blocks()) +
                             " blocks of pixels are more thread blocks than a grid has");
  }
  return static_cast<unsigned>(s.batch * s.blocks());
}

template <class T, class A, int V>
void blocks_forward(const GroupNormShape& s, const GroupNormImages& images,
                    const GroupNormArgs<A>& a, cudaStream_t stream) {
  const unsigned blocks = thread_blocks(s), batch = static_cast<unsigned>(s.batch);
  moments_kernel<T, A, V><<<blocks, kThreads, 0, stream>>>(s, a, images);
  finish_forward_kernel<A><<<batch, kThreads, 0, stream>>>(s, a);
  apply_kernel<T, A, V><<<blocks, kThreads, 0, stream>>>(s, a, images);
  check_launch("group_norm_forward");
}

template <class T, class A, int V>
void blocks_backward(const GroupNormShape& s, const GroupNormImages& images,
                     const GroupNormArgs<A>& a, cudaStream_t stream) {
  const unsigned blocks = thread_blocks(s), batch = static_cast<unsigned>(s.batch);
  sums_kernel<T, A, V><<<blocks, kThreads, 0, stream>>>(s, a, images);
  finish_backward_kernel<A><<<batch, kThreads, 0, stream>>>(s, a);
  gradient_kernel<T, A, V><<<blocks, kThreads, 0, stream>>>(s, a, images);
  check_launch("group_norm_backward");
}

}  // namespace ddpm::kernels::cuda
