#include "check.h"
#include "thin_convolution.h"
#include "vector.h"

#include <stdexcept>
#include <string>

#include <cuda_bf16.h>
#include <cuda_runtime.h>

// A library multiplies matrices, and few channels fill little of its tiles. Here a thread has two
// wide channels, a warp 64 neighbouring ones, and the 9 x thin x 2 weights or sums of a thread stay
// in its registers. kThin, a template argument, is the number of thin channels or the next one
// there is a kernel for. A block has three rows of the thin image, with a border of zeros, in shared
// memory, each pixel's channels padded for one load.

namespace ddpm::kernels::cuda {
namespace {

constexpr int kWarps = 8, kThreads = 32 * kWarps, kLanes = 2;  // wide channels per thread
constexpr int kPerWarp = 32 * kLanes;

// Numbers of a pixel in shared memory.
DDPM_HOST_DEVICE constexpr int padded(int thin) { return thin <= 2 ? thin : thin <= 4 ? 4 : 8; }

template <class T>
__device__ void load_pair(const T* from, float (&to)[kLanes]) {
  const auto pack = *reinterpret_cast<const Pack<T, kLanes>*>(from);
  for (int i = 0; i < kLanes; ++i) to[i] = static_cast<float>(pack.v[i]);
}
template <class T>
__device__ void store_pair(T* to, const float (&from)[kLanes]) {
  Pack<T, kLanes> pack;
  for (int i = 0; i < kLanes; ++i) pack.v[i] = static_cast<T>(from[i]);
  *reinterpret_cast<Pack<T, kLanes>*>(to) = pack;
}

// A pixel's thin channels, from shared memory.
template <int kThin>
__device__ Pack<float, padded(kThin)> pixel_of(const float* rows, int at) {
  constexpr int kSize = padded(kThin);
  if constexpr (kSize <= 4) {
    return reinterpret_cast<const Pack<float, kSize>*>(rows)[at];
  } else {
    Pack<float, kSize> whole;
    const auto* half = reinterpret_cast<const Pack<float, 4>*>(rows) + 2 * at;
    for (int i = 0; i < 4; ++i) whole.v[i] = half[0].v[i], whole.v[4 + i] = half[1].v[i];
    return whole;
  }
}

// Rows y - 1, y and y + 1 of image b, [3][width + 2][padded].
template <class T, int kThin>
__device__ void load_rows(const ThinConvShape& s, const T* thin, int64_t b, int64_t y,
                          float* shared) {
  constexpr int kSize = padded(kThin);
  const int columns = static_cast<int>(s.width) + 2, count = 3 * columns * kSize;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) {
    const int n = i % kSize, column = i / kSize % columns, row = i / kSize / columns;
    const int64_t from_y = y + row - 1, from_x = column - 1;
    const bool inside =
        n < s.thin && from_y >= 0 && from_y < s.height && from_x >= 0 && from_x < s.width;
    shared[i] =
        inside ? static_cast<float>(thin[((b * s.height + from_y) * s.width + from_x) * s.thin + n])
               : 0.0f;
  }
}

// A thread's weights, [9][kThin][kLanes]; 0 beyond the last channel.
template <int kThin>
__device__ void load_weights(const ThinConvShape& s, const float* weight, int64_t w,
                             float (&to)[9][kThin][kLanes]) {
#pragma unroll
  for (int t = 0; t < 9; ++t) {
#pragma unroll
    for (int n = 0; n < kThin; ++n) {
      if (n < s.thin && w < s.wide) {
        load_pair(weight + (t * s.thin + n) * s.wide + w, to[t][n]);
      } else {
        for (float& v : to[t][n]) v = 0.0f;
      }
    }
  }
}

// grid: (rows of all images, blocks of 64 wide channels). A warp takes every 8th pixel of the row.
template <class Thin, class Wide, int kThin>
__global__ void __launch_bounds__(kThreads, kThin <= 4 ? 2 : 1)
    thin_to_wide_kernel(ThinConvShape s, const Thin* thin, const float* weight, const float* bias,
                        Wide* wide) {
  extern __shared__ __align__(16) float rows[];
  const int64_t b = blockIdx.x / s.height, y = blockIdx.x % s.height;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t w = blockIdx.y * int64_t{kPerWarp} + lane * kLanes;
  load_rows<Thin, kThin>(s, thin, b, y, rows);
  float weights[9][kThin][kLanes];
  load_weights<kThin>(s, weight, w, weights);
  float first[kLanes] = {};
  if (bias && w < s.wide) load_pair(bias + w, first);
  __syncthreads();
  const int columns = static_cast<int>(s.width) + 2;
  for (int x = warp; x < static_cast<int>(s.width); x += kWarps) {
    float sum[kLanes];
    for (int i = 0; i < kLanes; ++i) sum[i] = first[i];
#pragma unroll
    for (int t = 0; t < 9; ++t) {
      const auto in = pixel_of<kThin>(rows, t / 3 * columns + x + t % 3);
#pragma unroll
      for (int n = 0; n < kThin; ++n) {
        for (int i = 0; i < kLanes; ++i) sum[i] += in.v[n] * weights[t][n][i];
      }
    }
    if (w < s.wide) store_pair(wide + (blockIdx.x * s.width + x) * s.wide + w, sum);
  }
}

// The sums over all lanes: lane n gets that of sum[n] in sum[0]. Each exchange also halves the
// numbers that a lane is responsible for.
template <int kThin>
__device__ void add_lanes(float (&sum)[kThin], int lane) {
  constexpr int kSize = kThin <= 1 ? 1 : kThin <= 2 ? 2 : kThin <= 4 ? 4 : 8;
  float v[kSize] = {};
#pragma unroll
  for (int n = 0; n < kThin; ++n) v[n] = sum[n];
  int step = 1;
#pragma unroll
  for (int count = kSize / 2; count >= 1; count /= 2, step *= 2) {
    // Of the numbers of both halves, an odd lane keeps the second half.
    const bool second = (lane / (kSize / 2 / count)) % 2 == 1;
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const float mine = second ? v[count + i] : v[i], other = second ? v[i] : v[count + i];
      v[i] = mine + __shfl_xor_sync(~0u, other, kSize / 2 / count);
    }
  }
#pragma unroll
  for (; step < 32; step *= 2) v[0] += __shfl_xor_sync(~0u, v[0], step);
  // Lane l has number bits_reversed(l % kSize): bring number n to lane n.
  int from = 0;
#pragma unroll
  for (int bit = 1, place = kSize / 2; bit < kSize; bit *= 2, place /= 2)
    from += (lane & bit) != 0 ? place : 0;
  sum[0] = __shfl_sync(~0u, v[0], from);
}

// grid: rows of all images. A warp computes neighbouring pixels of its part of the row, keeps the
// three columns around a pixel in registers, and adds up its threads' channels.
template <class Wide, int kThin>
__global__ void __launch_bounds__(kThreads, kThin <= 4 ? 2 : 1)
    wide_to_thin_kernel(ThinConvShape s, const Wide* wide, const float* weight, const float* bias,
                        float* thin) {
  extern __shared__ __align__(16) float sums[];  // [width][kThin]
  const int64_t b = blockIdx.x / s.height, y = blockIdx.x % s.height;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int width = static_cast<int>(s.width), part = (width + kWarps - 1) / kWarps;
  const int begin = warp * part, end = begin + part < width ? begin + part : width;
  for (int64_t w0 = 0; w0 < s.wide; w0 += kPerWarp) {
    const int64_t w = w0 + lane * kLanes;
    float weights[9][kThin][kLanes];
    load_weights<kThin>(s, weight, w, weights);
    const auto load_column = [&](int x, float(&to)[3][kLanes]) {
#pragma unroll
      for (int r = 0; r < 3; ++r) {
        const int64_t from_y = y + r - 1;
        const bool inside = w < s.wide && x >= 0 && x < width && from_y >= 0 && from_y < s.height;
        if (inside) {
          load_pair(wide + ((b * s.height + from_y) * s.width + x) * s.wide + w, to[r]);
        } else {
          for (float& v : to[r]) v = 0.0f;
        }
      }
    };
    float column[3][3][kLanes];  // [x - 1, x, x + 1]
    if (begin < end) {
      load_column(begin - 1, column[0]);
      load_column(begin, column[1]);
    }
    for (int x = begin; x < end; ++x) {
      load_column(x + 1, column[2]);
      float sum[kThin] = {};
#pragma unroll
      for (int t = 0; t < 9; ++t) {
#pragma unroll
        for (int n = 0; n < kThin; ++n) {
          for (int i = 0; i < kLanes; ++i) sum[n] += column[t % 3][t / 3][i] * weights[t][n][i];
        }
      }
      add_lanes(sum, lane);
      if (lane < kThin) {
        float* to = sums + x * kThin + lane;
        *to = w0 == 0 ? sum[0] : *to + sum[0];
      }
#pragma unroll
      for (int r = 0; r < 3; ++r) {
        for (int i = 0; i < kLanes; ++i) {
          column[0][r][i] = column[1][r][i];
          column[1][r][i] = column[2][r][i];
        }
      }
    }
  }
  __syncthreads();
  const int count = width * static_cast<int>(s.thin);
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) {
    const int n = i % static_cast<int>(s.thin), x = i / static_cast<int>(s.thin);
    thin[blockIdx.x * s.width * s.thin + i] = sums[x * kThin + n] + (bias ? bias[n] : 0.0f);
  }
}

// grid: (parts, blocks of 64 wide channels). A block takes every n-th row; its warps' sums are
// added up in their order.
template <class Thin, class Wide, int kThin>
__global__ void __launch_bounds__(kThreads, kThin <= 4 ? 2 : 1)
    products_kernel(ThinConvShape s, const Thin* thin, const Wide* wide, float* partial) {
  extern __shared__ __align__(16) float rows[];
  __shared__ float added[kThin][kPerWarp];
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t w = blockIdx.y * int64_t{kPerWarp} + lane * kLanes;
  const int columns = static_cast<int>(s.width) + 2;
  float sum[9][kThin][kLanes] = {};
  for (int64_t row = blockIdx.x; row < s.batch * s.height; row += gridDim.x) {
    __syncthreads();  // the readers of the last row are done
    load_rows<Thin, kThin>(s, thin, row / s.height, row % s.height, rows);
    __syncthreads();
    float next[kLanes] = {};
    if (w < s.wide && warp < s.width) load_pair(wide + (row * s.width + warp) * s.wide + w, next);
    for (int x = warp; x < static_cast<int>(s.width); x += kWarps) {
      float v[kLanes];
      for (int i = 0; i < kLanes; ++i) v[i] = next[i];
      if (w < s.wide && x + kWarps < s.width)
        load_pair(wide + (row * s.width + x + kWarps) * s.wide + w, next);
#pragma unroll
      for (int t = 0; t < 9; ++t) {
        const auto in = pixel_of<kThin>(rows, t / 3 * columns + x + t % 3);
#pragma unroll
        for (int n = 0; n < kThin; ++n) {
          for (int i = 0; i < kLanes; ++i) sum[t][n][i] += in.v[n] * v[i];
        }
      }
    }
  }
#pragma unroll
  for (int t = 0; t < 9; ++t) {
    for (int turn = 0; turn < kWarps; ++turn) {
      if (warp == turn) {
#pragma unroll
        for (int n = 0; n < kThin; ++n) {
          for (int i = 0; i < kLanes; ++i) {
            float* to = &added[n][lane * kLanes + i];
            *to = turn == 0 ? sum[t][n][i] : *to + sum[t][n][i];
          }
        }
      }
      __syncthreads();
    }
    if (warp == 0 && w < s.wide) {
      for (int n = 0; n < static_cast<int>(s.thin); ++n) {
        float four[kLanes];
        for (int i = 0; i < kLanes; ++i) four[i] = added[n][lane * kLanes + i];
        store_pair(partial + ((blockIdx.x * int64_t{9} + t) * s.thin + n) * s.wide + w, four);
      }
    }
    __syncthreads();
  }
}

// by(kThin) for the shape's number of thin channels.
template <class By>
void with_thin(const ThinConvShape& s, const By& by) {
  if (s.thin <= 1) return by(std::integral_constant<int, 1>{});
  if (s.thin <= 2) return by(std::integral_constant<int, 2>{});
  if (s.thin <= 3) return by(std::integral_constant<int, 3>{});
  if (s.thin <= 4) return by(std::integral_constant<int, 4>{});
  if (s.thin <= 6) return by(std::integral_constant<int, 6>{});
  by(std::integral_constant<int, 8>{});
}

// by(a number of the type), float32 or bfloat16.
template <class By>
void with_type(Element type, const By& by) {
  if (type == Element::kBFloat16) return by(__nv_bfloat16{});
  by(float{});
}

unsigned blocks_across(const ThinConvShape& s) {
  return static_cast<unsigned>((s.wide + kPerWarp - 1) / kPerWarp);
}
unsigned rows_of(const ThinConvShape& s) { return static_cast<unsigned>(s.batch * s.height); }

int shared_rows(const ThinConvShape& s, int thin) {
  return static_cast<int>(3 * (s.width + 2) * padded(thin) * sizeof(float));
}

}  // namespace

void thin_to_wide(const ThinConvShape& s, Element thin_type, const void* thin, const float* weight,
                  const float* bias, Element wide_type, void* wide, void* stream) {
  const auto queue = static_cast<cudaStream_t>(stream);
  with_thin(s, [&](auto n) {
    with_type(thin_type, [&](auto in) {
      with_type(wide_type, [&](auto out) {
        using In = decltype(in);
        using Out = decltype(out);
        thin_to_wide_kernel<In, Out, n()>
            <<<dim3(rows_of(s), blocks_across(s)), kThreads, shared_rows(s, n()), queue>>>(
                s, static_cast<const In*>(thin), weight, bias, static_cast<Out*>(wide));
      });
    });
  });
  check_launch("thin_to_wide");
}

void wide_to_thin(const ThinConvShape& s, Element wide_type, const void* wide, const float* weight,
                  const float* bias, float* thin, void* stream) {
  const auto queue = static_cast<cudaStream_t>(stream);
  with_thin(s, [&](auto n) {
    with_type(wide_type, [&](auto in) {
      using In = decltype(in);
      const auto shared = static_cast<size_t>(s.width) * n() * sizeof(float);
      wide_to_thin_kernel<In, n()><<<rows_of(s), kThreads, shared, queue>>>(
          s, static_cast<const In*>(wide), weight, bias, thin);
    });
  });
  check_launch("wide_to_thin");
}

void thin_wide_products(const ThinConvShape& s, Element thin_type, const void* thin,
                        Element wide_type, const void* wide, float* partial, void* stream) {
  const auto queue = static_cast<cudaStream_t>(stream);
  const dim3 grid(static_cast<unsigned>(thin_conv_parts(s)), blocks_across(s));
  with_thin(s, [&](auto n) {
    with_type(thin_type, [&](auto a) {
      with_type(wide_type, [&](auto c) {
        using Thin = decltype(a);
        using Wide = decltype(c);
        products_kernel<Thin, Wide, n()><<<grid, kThreads, shared_rows(s, n()), queue>>>(
            s, static_cast<const Thin*>(thin), static_cast<const Wide*>(wide), partial);
      });
    });
  });
  check_launch("thin_wide_products");
}

}  // namespace ddpm::kernels::cuda
