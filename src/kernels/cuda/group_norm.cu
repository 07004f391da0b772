#include "../group_norm_device.h"

#include <cstdio>
#include <stdexcept>
#include <string>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

// As on the CPU (cpu/group_norm.cpp): a pass over the tiles, the arithmetic between, a second pass;
// a block a tile. Threads of a block lie along the channels, as many as there are, V channels each
// (16 bytes), and in rows of pixels. Sums are taken in a fixed order.

namespace ddpm::kernels::cuda {
namespace {

constexpr int kThreads = 256;

void check_launch(const char* name) {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) {
    throw std::runtime_error(std::string(name) + ": " + cudaGetErrorString(error));
  }
}

template <class A>
__device__ A to_sum(float x) {
  return static_cast<A>(x);
}
template <class A>
__device__ A to_sum(double x) {
  return static_cast<A>(x);
}
template <class A>
__device__ A to_sum(__nv_bfloat16 x) {
  return __bfloat162float(x);
}
template <class A>
__device__ A to_sum(__half x) {
  return __half2float(x);
}
__device__ void set(float& to, float x) { to = x; }
__device__ void set(double& to, double x) { to = x; }
__device__ void set(__nv_bfloat16& to, float x) { to = __float2bfloat16_rn(x); }
__device__ void set(__half& to, float x) { to = __float2half_rn(x); }

template <class T, int V>
struct alignas(sizeof(T) * V) Pack {
  T v[V];
};

template <class A, class T, int V>
__device__ void load(const T* from, A (&to)[V]) {
  const auto pack = *reinterpret_cast<const Pack<T, V>*>(from);
  for (int i = 0; i < V; ++i) to[i] = to_sum<A>(pack.v[i]);
}

template <class A, class T, int V>
__device__ void store(T* to, const A (&from)[V]) {
  Pack<T, V> pack;
  for (int i = 0; i < V; ++i) set(pack.v[i], from[i]);
  *reinterpret_cast<Pack<T, V>*>(to) = pack;
}

template <class A>
__device__ A sigmoid(A x) {
  return A(1) / (A(1) + exp(-x));
}

/// d SiLU(z) / dz = s (1 + z (1 - s)).
template <class A>
__device__ A through_silu(A dy, A z) {
  const A s = sigmoid(z);
  return dy * (s * (A(1) + z * (A(1) - s)));
}

/// What a thread has to do of its block's tile.
struct Work {
  int64_t b, tile, offset, pixels;  // offset: of the tile's first element
  int64_t lanes, rows, row, first;  // first: its first channel, in units of V
  __device__ Work(const GroupNormShape& s, int vector)
      : b(blockIdx.y),
        tile(blockIdx.x),
        offset((b * s.pixels + tile * s.tile) * s.channels),
        pixels(s.tile_pixels(tile)) {
    const int64_t across = s.channels / vector;
    lanes = across < kThreads ? across : kThreads;
    rows = kThreads / lanes;
    row = threadIdx.x / lanes;
    first = threadIdx.x % lanes;
  }
};

/// The rows' pairs of sums, added in the order of the rows; right in row 0.
template <class A, int V>
__device__ void add_rows(const Work& work, A (&sum)[V], A (&second)[V]) {
  __shared__ A shared[2 * V * kThreads];
  __syncthreads();  // the last round's readers are done
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
__global__ void moments_kernel(GroupNormShape s, GroupNormArgs<A> a, const T* x) {
  const Work work(s, V);
  const T* tile = x + work.offset;
  for (int64_t round = 0; round < s.channels / V; round += work.lanes) {
    const int64_t c = (round + work.first) * V;
    const bool mine = work.row < work.rows && c < s.channels;
    A origin[V] = {}, sum[V] = {}, square[V] = {};
    if (mine) {
      load(tile + c, origin);
      for (int64_t p = work.row; p < work.pixels; p += work.rows) {
        A v[V];
        load(tile + p * s.channels + c, v);
        for (int i = 0; i < V; ++i) {
          const A d = v[i] - origin[i];
          sum[i] += d;
          square[i] += d * d;
        }
      }
    }
    add_rows(work, sum, square);
    if (!mine || work.row != 0) continue;
    double* partial = a.partial_of(s, work.b, work.tile, c);
    for (int i = 0; i < V; ++i) {
      const A mean = sum[i] / static_cast<A>(work.pixels);
      const A deviation = square[i] - sum[i] * mean;
      partial[2 * i] = origin[i] + mean;
      partial[2 * i + 1] = deviation < A(0) ? A(0) : deviation;
    }
  }
}

// A block an image, a thread a channel.
template <class A>
__global__ void finish_forward_kernel(GroupNormShape s, GroupNormArgs<A> a) {
  const int64_t b = blockIdx.x;
  for (int64_t c = threadIdx.x; c < s.channels; c += kThreads) merge_moments(s, a, b, c);
  __syncthreads();
  for (int64_t c = threadIdx.x; c < s.channels; c += kThreads) {
    const int64_t g = c / s.group_size();
    const GroupStatistics group = group_statistics(s, a, b, g);
    channel_affine(s, a, b, c, group);
    if (c % s.group_size() != 0) continue;
    a.mean[b * s.groups + g] = group.mean;
    a.rstd[b * s.groups + g] = group.rstd;
  }
}

template <class A>
__global__ void begin_backward_kernel(GroupNormShape s, GroupNormArgs<A> a) {
  const int64_t b = blockIdx.x;
  for (int64_t c = threadIdx.x; c < s.channels; c += kThreads) {
    channel_affine(s, a, b, c, saved_statistics(s, a, b, c / s.group_size()));
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
    channel_gradient(s, a, b, c, group, group_gradient(s, a, b, g, group));
  }
}

template <class T, class A, int V>
__global__ void apply_kernel(GroupNormShape s, GroupNormArgs<A> a, const T* x, T* y) {
  const Work work(s, V);
  if (work.row >= work.rows) return;
  const A* k = a.coefficients_of(s, work.b);
  for (int64_t c = work.first * V; c < s.channels; c += work.lanes * V) {
    A k0[V], k1[V], k2[V], v[V];
    for (int i = 0; i < V; ++i) {
      k0[i] = k[c + i], k1[i] = k[s.channels + c + i], k2[i] = k[2 * s.channels + c + i];
    }
    for (int64_t p = work.row; p < work.pixels; p += work.rows) {
      const int64_t at = work.offset + p * s.channels + c;
      load(x + at, v);
      for (int i = 0; i < V; ++i) {
        const A z = (v[i] - k0[i]) * k1[i] + k2[i];
        v[i] = s.silu ? z * sigmoid(z) : z;
      }
      store(y + at, v);
    }
  }
}

template <class T, class A, int V>
__global__ void sums_kernel(GroupNormShape s, GroupNormArgs<A> a, const T* x, const T* dy) {
  const Work work(s, V);
  const A* k = a.coefficients_of(s, work.b);
  for (int64_t round = 0; round < s.channels / V; round += work.lanes) {
    const int64_t c = (round + work.first) * V;
    const bool mine = work.row < work.rows && c < s.channels;
    A sum[V] = {}, product[V] = {};
    for (int64_t p = work.row; mine && p < work.pixels; p += work.rows) {
      const int64_t at = work.offset + p * s.channels + c;
      A v[V], dz[V];
      load(x + at, v);
      load(dy + at, dz);
      for (int i = 0; i < V; ++i) {
        const A d = v[i] - k[c + i];
        if (s.silu) {
          dz[i] = through_silu(dz[i], d * k[s.channels + c + i] + k[2 * s.channels + c + i]);
        }
        sum[i] += dz[i];
        product[i] += dz[i] * d;
      }
    }
    add_rows(work, sum, product);
    if (!mine || work.row != 0) continue;
    double* partial = a.partial_of(s, work.b, work.tile, c);
    for (int i = 0; i < V; ++i) {
      partial[2 * i] = sum[i];
      partial[2 * i + 1] = product[i];
    }
  }
}

template <class T, class A, int V>
__global__ void gradient_kernel(GroupNormShape s, GroupNormArgs<A> a, const T* x, const T* dy,
                                T* dx) {
  const Work work(s, V);
  if (work.row >= work.rows) return;
  const A* k = a.coefficients_of(s, work.b);
  for (int64_t c = work.first * V; c < s.channels; c += work.lanes * V) {
    for (int64_t p = work.row; p < work.pixels; p += work.rows) {
      const int64_t at = work.offset + p * s.channels + c;
      A v[V], dz[V];
      load(x + at, v);
      load(dy + at, dz);
      for (int i = 0; i < V; ++i) {
        const A k1 = k[s.channels + c + i];
        const A d = v[i] - k[c + i];
        if (s.silu) dz[i] = through_silu(dz[i], d * k1 + k[2 * s.channels + c + i]);
        v[i] = k1 * dz[i] + (k[3 * s.channels + c + i] + d * k[4 * s.channels + c + i]);
      }
      store(dx + at, v);
    }
  }
}

dim3 tiles_of(const GroupNormShape& s) {
  return {static_cast<unsigned>(s.tiles()), static_cast<unsigned>(s.batch), 1};
}

template <class T, class A, int V>
void forward(const GroupNormShape& s, const T* x, T* y, const GroupNormArgs<A>& a,
             cudaStream_t stream) {
  const auto images = static_cast<unsigned>(s.batch);
  moments_kernel<T, A, V><<<tiles_of(s), kThreads, 0, stream>>>(s, a, x);
  finish_forward_kernel<A><<<images, kThreads, 0, stream>>>(s, a);
  apply_kernel<T, A, V><<<tiles_of(s), kThreads, 0, stream>>>(s, a, x, y);
  check_launch("group_norm_forward");
}

template <class T, class A, int V>
void backward(const GroupNormShape& s, const T* x, const T* dy, T* dx, const GroupNormArgs<A>& a,
              cudaStream_t stream) {
  const auto images = static_cast<unsigned>(s.batch);
  begin_backward_kernel<A><<<images, kThreads, 0, stream>>>(s, a);
  sums_kernel<T, A, V><<<tiles_of(s), kThreads, 0, stream>>>(s, a, x, dy);
  finish_backward_kernel<A><<<images, kThreads, 0, stream>>>(s, a);
  gradient_kernel<T, A, V><<<tiles_of(s), kThreads, 0, stream>>>(s, a, x, dy, dx);
  check_launch("group_norm_backward");
}

bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

template <class T, class A>
void forward_of(const GroupNormShape& s, const void* x, void* y, const GroupNormArgs<A>& a,
                void* stream) {
  constexpr int kVector = 16 / sizeof(T);
  const auto* from = static_cast<const T*>(x);
  auto* to = static_cast<T*>(y);
  const auto queue = static_cast<cudaStream_t>(stream);
  if (s.channels % kVector == 0 && aligned(x) && aligned(y)) {
    forward<T, A, kVector>(s, from, to, a, queue);
  } else {
    forward<T, A, 1>(s, from, to, a, queue);
  }
}

template <class T, class A>
void backward_of(const GroupNormShape& s, const void* x, const void* dy, void* dx,
                 const GroupNormArgs<A>& a, void* stream) {
  constexpr int kVector = 16 / sizeof(T);
  const auto *from = static_cast<const T*>(x), *gradient = static_cast<const T*>(dy);
  auto* to = static_cast<T*>(dx);
  const auto queue = static_cast<cudaStream_t>(stream);
  if (s.channels % kVector == 0 && aligned(x) && aligned(dy) && aligned(dx)) {
    backward<T, A, kVector>(s, from, gradient, to, a, queue);
  } else {
    backward<T, A, 1>(s, from, gradient, to, a, queue);
  }
}

}  // namespace

void group_norm_forward(const GroupNormShape& shape, Element element, const void* x, void* y,
                        const GroupNormArgs<float>& args, void* stream) {
  if (element == Element::kBFloat16) {
    forward_of<__nv_bfloat16>(shape, x, y, args, stream);
  } else if (element == Element::kFloat16) {
    forward_of<__half>(shape, x, y, args, stream);
  } else {
    forward_of<float>(shape, x, y, args, stream);
  }
}

void group_norm_forward(const GroupNormShape& shape, Element, const void* x, void* y,
                        const GroupNormArgs<double>& args, void* stream) {
  forward_of<double>(shape, x, y, args, stream);
}

void group_norm_backward(const GroupNormShape& shape, Element element, const void* x,
                         const void* dy, void* dx, const GroupNormArgs<float>& args, void* stream) {
  if (element == Element::kBFloat16) {
    backward_of<__nv_bfloat16>(shape, x, dy, dx, args, stream);
  } else if (element == Element::kFloat16) {
    backward_of<__half>(shape, x, dy, dx, args, stream);
  } else {
    backward_of<float>(shape, x, dy, dx, args, stream);
  }
}

void group_norm_backward(const GroupNormShape& shape, Element, const void* x, const void* dy,
                         void* dx, const GroupNormArgs<double>& args, void* stream) {
  backward_of<double>(shape, x, dy, dx, args, stream);
}

}  // namespace ddpm::kernels::cuda
