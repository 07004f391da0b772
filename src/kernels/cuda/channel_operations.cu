#include "channel_operations.h"
#include "check.h"
#include "vector.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

// One thread has V neighbouring channels (16 bytes). Sums: threads of a block lie along the
// channels, then along the rows; each adds every n-th row of its chunk, the block adds these, and a
// second launch adds the chunks. Every sum has one fixed order.

namespace ddpm::kernels::cuda {
namespace {

constexpr int kThreads = 256;

__device__ float to_float(float v) { return v; }
__device__ float to_float(__nv_bfloat16 v) { return __bfloat162float(v); }
__device__ float to_float(__half v) { return __half2float(v); }

// grid: (chunks, blocks of channels, matrices). lanes: threads along the channels.
template <class T, int V>
__global__ void chunk_sums_kernel(RowSums s, int lanes, const T* in, float* partial) {
  __shared__ float shared[V * kThreads];
  const int lane = static_cast<int>(threadIdx.x) % lanes,
            row = static_cast<int>(threadIdx.x) / lanes;
  const int rows = kThreads / lanes;
  const int64_t c = (static_cast<int64_t>(blockIdx.y) * lanes + lane) * V;
  const bool mine = row < rows && c < s.channels;
  const int64_t size = (s.rows + s.chunks - 1) / s.chunks, begin = blockIdx.x * size;
  const int64_t end = begin + size < s.rows ? begin + size : s.rows;
  const T* matrix = in + blockIdx.z * s.rows * s.channels;
  float sum[V] = {};
  if (mine) {
#pragma unroll 8
    for (int64_t r = begin + row; r < end; r += rows) {
      const auto pack = *reinterpret_cast<const Pack<T, V>*>(matrix + r * s.channels + c);
      for (int i = 0; i < V; ++i) sum[i] += to_float(pack.v[i]);
    }
  }
  for (int i = 0; i < V; ++i) shared[i * kThreads + threadIdx.x] = sum[i];
  __syncthreads();
  if (!mine || row != 0) return;
  float* out = partial + (blockIdx.z * s.chunks + blockIdx.x) * s.channels + c;
  for (int i = 0; i < V; ++i) {
    float all = 0.0f;
    for (int r = 0; r < rows; ++r) all += shared[i * kThreads + r * lanes + lane];
    out[i] = all;
  }
}

// grid: (32 channels each, matrices); 32 x 32 threads.
template <class T>
__global__ void fold_sums_kernel(int64_t rows, int64_t channels, const T* in, float* out) {
  __shared__ float shared[32][33];
  const int64_t c = blockIdx.x * int64_t{32} + threadIdx.x;
  const T* matrix = in + blockIdx.y * rows * channels;
  float sum = 0.0f;
  if (c < channels) {
#pragma unroll 4
    for (int64_t r = threadIdx.y; r < rows; r += 32) sum += to_float(matrix[r * channels + c]);
  }
  shared[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || c >= channels) return;
  float all = 0.0f;
  for (int r = 0; r < 32; ++r) all += shared[r][threadIdx.x];
  out[blockIdx.y * channels + c] = all;
}

bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

template <class T>
void fold(const RowSums& s, int64_t rows, const T* in, float* out, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((s.channels + 31) / 32), static_cast<unsigned>(s.count));
  fold_sums_kernel<<<grid, dim3(32, 32), 0, stream>>>(rows, s.channels, in, out);
}

template <class T, int V>
void chunk_sums(const RowSums& s, const T* in, float* out, cudaStream_t stream) {
  const int64_t across = s.channels / V;
  const int lanes = static_cast<int>(across < kThreads ? across : kThreads);
  const dim3 grid(static_cast<unsigned>(s.chunks),
                  static_cast<unsigned>((across + lanes - 1) / lanes),
                  static_cast<unsigned>(s.count));
  chunk_sums_kernel<T, V><<<grid, kThreads, 0, stream>>>(s, lanes, in, out);
}

template <class T>
void row_sums_of(const RowSums& s, const T* in, float* partial, float* out, cudaStream_t stream) {
  if (s.rows <= 1024) {
    fold(s, s.rows, in, out, stream);
    return check_launch("row_sums");
  }
  constexpr int kVector = 16 / sizeof(T);
  float* first = s.chunks == 1 ? out : partial;
  if (s.channels % kVector == 0 && aligned(in)) {
    chunk_sums<T, kVector>(s, in, first, stream);
  } else {
    chunk_sums<T, 1>(s, in, first, stream);
  }
  if (s.chunks > 1) fold(s, s.chunks, partial, out, stream);
  check_launch("row_sums");
}

template <class T, int V>
__global__ void add_bias_residual_kernel(T* y, const T* residual, const float* bias,
                                         int64_t vectors, uint32_t channels) {
  const int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (i >= vectors) return;
  using Vector = Pack<T, V>;
  Vector v = reinterpret_cast<const Vector*>(y)[i], r{};
  if (residual) r = reinterpret_cast<const Vector*>(residual)[i];
  float sum[V];
  for (int k = 0; k < V; ++k) sum[k] = to_float(v.v[k]);
  if (residual) {
    for (int k = 0; k < V; ++k) sum[k] += to_float(r.v[k]);
  }
  if (bias) {
    // Division of 32 bits is much faster, and nearly always enough.
    const uint32_t vector = vectors >> 32 == 0 ? static_cast<uint32_t>(i) % (channels / V)
                                               : static_cast<uint32_t>(i % (channels / V));
    const uint32_t c = vector * V;
    if constexpr (V % 4 == 0) {  // torch's memory and c are multiples of 16 bytes
      for (int k = 0; k < V; k += 4) {
        const auto four = *reinterpret_cast<const Pack<float, 4>*>(bias + c + k);
        for (int j = 0; j < 4; ++j) sum[k + j] += four.v[j];
      }
    } else {
      for (int k = 0; k < V; ++k) sum[k] += bias[c + k];
    }
  }
  for (int k = 0; k < V; ++k) v.v[k] = static_cast<T>(sum[k]);
  reinterpret_cast<Vector*>(y)[i] = v;
}

template <class T>
void add_of(void* y, const void* residual, const float* bias, int64_t numel, int64_t channels,
            cudaStream_t stream) {
  constexpr int kVector = 16 / sizeof(T);
  auto* to = static_cast<T*>(y);
  const auto* other = static_cast<const T*>(residual);
  const auto blocks = [](int64_t n) {
    return static_cast<unsigned>((n + kThreads - 1) / kThreads);
  };
  if (channels % kVector == 0 && aligned(y) && aligned(residual) && aligned(bias)) {
    const int64_t vectors = numel / kVector;
    add_bias_residual_kernel<T, kVector><<<blocks(vectors), kThreads, 0, stream>>>(
        to, other, bias, vectors, static_cast<uint32_t>(channels));
  } else {
    add_bias_residual_kernel<T, 1><<<blocks(numel), kThreads, 0, stream>>>(
        to, other, bias, numel, static_cast<uint32_t>(channels));
  }
  check_launch("add_bias_residual");
}

// One thread per vector of x or dx. grid: (vectors of a row of x, rows of all images).
template <class T, int V, bool kBackward>
__global__ void upsample_kernel(const T* from, T* to, int row_vectors, int pixel_vectors) {
  using Vector = Pack<T, V>;
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (i >= row_vectors) return;
  const int64_t small = blockIdx.y * int64_t{row_vectors} + i;
  const int x = i / pixel_vectors, c = i % pixel_vectors;
  const int64_t first = blockIdx.y * int64_t{4} * row_vectors + 2 * x * pixel_vectors + c;
  const int64_t four[]{first, first + pixel_vectors, first + 2 * row_vectors,
                       first + 2 * row_vectors + pixel_vectors};
  if constexpr (kBackward) {
    float sum[V] = {};
    for (const int64_t at : four) {
      const Vector v = reinterpret_cast<const Vector*>(from)[at];
      for (int k = 0; k < V; ++k) sum[k] += to_float(v.v[k]);
    }
    Vector out;
    for (int k = 0; k < V; ++k) out.v[k] = static_cast<T>(sum[k]);
    reinterpret_cast<Vector*>(to)[small] = out;
  } else {
    const Vector v = reinterpret_cast<const Vector*>(from)[small];
    for (const int64_t at : four) reinterpret_cast<Vector*>(to)[at] = v;
  }
}

template <class T, bool kBackward>
void upsample_of(const void* from, void* to, int64_t batch, int64_t height, int64_t width,
                 int64_t channels, cudaStream_t stream) {
  constexpr int kVector = 16 / sizeof(T);
  const int pixel = static_cast<int>(channels / kVector), row = static_cast<int>(width) * pixel;
  // 65535 rows are the most that a grid has in y.
  for (int64_t first = 0; first < batch * height; first += 65535) {
    const int64_t rows = batch * height - first < 65535 ? batch * height - first : 65535;
    const int64_t small = first * row * kVector, large = 4 * small;
    const dim3 grid(static_cast<unsigned>((row + kThreads - 1) / kThreads),
                    static_cast<unsigned>(rows));
    upsample_kernel<T, kVector, kBackward><<<grid, kThreads, 0, stream>>>(
        static_cast<const T*>(from) + (kBackward ? large : small),
        static_cast<T*>(to) + (kBackward ? small : large), row, pixel);
  }
  check_launch("upsample");
}

template <bool kBackward>
void upsample_any(Element element, const void* from, void* to, int64_t batch, int64_t height,
                  int64_t width, int64_t channels, void* stream) {
  const auto queue = static_cast<cudaStream_t>(stream);
  if (element == Element::kBFloat16) {
    upsample_of<__nv_bfloat16, kBackward>(from, to, batch, height, width, channels, queue);
  } else if (element == Element::kFloat16) {
    upsample_of<__half, kBackward>(from, to, batch, height, width, channels, queue);
  } else {
    upsample_of<float, kBackward>(from, to, batch, height, width, channels, queue);
  }
}

}  // namespace

void upsample(Element element, const void* x, void* y, int64_t batch, int64_t height, int64_t width,
              int64_t channels, void* stream) {
  upsample_any<false>(element, x, y, batch, height, width, channels, stream);
}
void upsample_backward(Element element, const void* dy, void* dx, int64_t batch, int64_t height,
                       int64_t width, int64_t channels, void* stream) {
  upsample_any<true>(element, dy, dx, batch, height, width, channels, stream);
}

void row_sums(const RowSums& shape, Element element, const void* in, float* partial, float* out,
              void* stream) {
  const auto queue = static_cast<cudaStream_t>(stream);
  if (element == Element::kBFloat16) {
    row_sums_of(shape, static_cast<const __nv_bfloat16*>(in), partial, out, queue);
  } else if (element == Element::kFloat16) {
    row_sums_of(shape, static_cast<const __half*>(in), partial, out, queue);
  } else {
    row_sums_of(shape, static_cast<const float*>(in), partial, out, queue);
  }
}

void add_bias_residual(Element element, void* y, const void* residual, const float* bias,
                       int64_t numel, int64_t channels, void* stream) {
  const auto queue = static_cast<cudaStream_t>(stream);
  if (element == Element::kBFloat16) {
    add_of<__nv_bfloat16>(y, residual, bias, numel, channels, queue);
  } else if (element == Element::kFloat16) {
    add_of<__half>(y, residual, bias, numel, channels, queue);
  } else {
    add_of<float>(y, residual, bias, numel, channels, queue);
  }
}

}  // namespace ddpm::kernels::cuda
