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

// Neighbouring rows of one image, `count` at most. With the rows above and below them they lie in
// shared memory: [count + 2][width + 2][padded].
struct Rows {
  int64_t b, first;
  int count;
  // Part i of the images, of `most` rows each.
  __device__ Rows(const ThinConvShape& s, int64_t i, int most) {
    const int64_t parts = (s.height + most - 1) / most;
    b = i / parts, first = i % parts * most;
    count = static_cast<int>(s.height - first < most ? s.height - first : most);
  }
};

template <class T, int kThin>
__device__ void load_rows(const ThinConvShape& s, const T* thin, const Rows& rows, float* shared) {
  constexpr int kSize = padded(kThin);
  const int columns = static_cast<int>(s.width) + 2, count = (rows.count + 2) * columns;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) {
    const int64_t y = rows.first + i / columns - 1, x = i % columns - 1;
    const bool inside = y >= 0 && y < s.height && x >= 0 && x < s.width;
    const T* from = thin + ((rows.b * s.height + y) * s.width + x) * s.thin;
#pragma unroll
    for (int n = 0; n < kSize; ++n)
      shared[i * kSize + n] = inside && n < s.thin ? static_cast<float>(from[n]) : 0.0f;
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

// grid: (parts of the images, blocks of 64 wide channels). A warp takes every 8th pixel.
template <class Thin, class Wide, int kThin>
__global__ void __launch_bounds__(kThreads, kThin <= 4 ? 2 : 1)
    thin_to_wide_kernel(ThinConvShape s, int most, const Thin* thin, const float* weight,
                        const float* bias, Wide* wide) {
  extern __shared__ __align__(16) float shared[];
  const Rows rows(s, blockIdx.x, most);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t w = blockIdx.y * int64_t{kPerWarp} + lane * kLanes;
  load_rows<Thin, kThin>(s, thin, rows, shared);
  float weights[9][kThin][kLanes];
  load_weights<kThin>(s, weight, w, weights);
  float first[kLanes] = {};
  if (bias && w < s.wide) load_pair(bias + w, first);
  __syncthreads();
  const int width = static_cast<int>(s.width), columns = width + 2;
  Wide* to = wide + (rows.b * s.height + rows.first) * s.width * s.wide + w;
  for (int p = warp; p < rows.count * width; p += kWarps) {
    const int corner = p / width * columns + p % width;
    float sum[kLanes];
    for (int i = 0; i < kLanes; ++i) sum[i] = first[i];
#pragma unroll
    for (int t = 0; t < 9; ++t) {
      const auto in = pixel_of<kThin>(shared, corner + t / 3 * columns + t % 3);
#pragma unroll
      for (int n = 0; n < kThin; ++n) {
        for (int i = 0; i < kLanes; ++i) sum[i] += in.v[n] * weights[t][n][i];
      }
    }
    if (w < s.wide) store_pair(to + p * s.wide, sum);
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

// grid: parts of the images. A warp computes neighbouring pixels of one row, keeps the three columns
// around a pixel in registers, and adds up its threads' channels.
template <class Wide, int kThin>
__global__ void __launch_bounds__(kThreads, kThin <= 4 ? 2 : 1)
    wide_to_thin_kernel(ThinConvShape s, int most, const Wide* wide, const float* weight,
                        const float* bias, float* thin) {
  extern __shared__ __align__(16) float sums[];  // [rows][width][kThin]
  const Rows rows(s, blockIdx.x, most);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int width = static_cast<int>(s.width);
  // Each row in as many runs as there are warps for it.
  const int runs = kWarps > rows.count ? kWarps / rows.count : 1, run = (width + runs - 1) / runs;
  for (int64_t w0 = 0; w0 < s.wide; w0 += kPerWarp) {
    const int64_t w = w0 + lane * kLanes;
    float weights[9][kThin][kLanes];
    load_weights<kThin>(s, weight, w, weights);
    for (int job = warp; job < rows.count * runs; job += kWarps) {
      const int row = job / runs, begin = job % runs * run;
      const int end = begin + run < width ? begin + run : width;
      const auto load_column = [&](int x, float(&to)[3][kLanes]) {
#pragma unroll
        for (int r = 0; r < 3; ++r) {
          const int64_t y = rows.first + row + r - 1;
          const bool inside = w < s.wide && x >= 0 && x < width && y >= 0 && y < s.height;
          for (float& v : to[r]) v = 0.0f;
          if (inside) load_pair(wide + ((rows.b * s.height + y) * s.width + x) * s.wide + w, to[r]);
        }
      };
      float column[4][3][kLanes];  // x - 1, x, x + 1, and x + 2 on its way
      load_column(begin - 1, column[0]);
      load_column(begin, column[1]);
      load_column(begin + 1, column[2]);
      for (int x = begin; x < end; ++x) {
        load_column(x + 2, column[3]);
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
          float* to = sums + (row * width + x) * kThin + lane;
          *to = w0 == 0 ? sum[0] : *to + sum[0];
        }
#pragma unroll
        for (int r = 0; r < 3; ++r) {
          for (int i = 0; i < kLanes; ++i) {
            column[0][r][i] = column[1][r][i];
            column[1][r][i] = column[2][r][i];
            column[2][r][i] = column[3][r][i];
          }
        }
      }
    }
  }
  __syncthreads();
  const int channels = static_cast<int>(s.thin), count = rows.count * width * channels;
  float* to = thin + (rows.b * s.height + rows.first) * s.width * s.thin;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) {
    const int n = i % channels;
    to[i] = sums[i / channels * kThin + n] + (bias ? bias[n] : 0.0f);
  }
}

// grid: (thread blocks that share the parts, blocks of 64 wide channels). The warps' sums are added
// up in their order.
template <class Thin, class Wide, int kThin>
__global__ void __launch_bounds__(kThreads, kThin <= 4 ? 2 : 1)
    products_kernel(ThinConvShape s, int most, int64_t parts, const Thin* thin, const Wide* wide,
                    float* partial) {
  extern __shared__ __align__(16) float shared[];
  __shared__ float added[kThin][kPerWarp];
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t w = blockIdx.y * int64_t{kPerWarp} + lane * kLanes;
  const int width = static_cast<int>(s.width), columns = width + 2;
  float sum[9][kThin][kLanes] = {};
  for (int64_t part = blockIdx.x; part < parts; part += gridDim.x) {
    const Rows rows(s, part, most);
    __syncthreads();  // the readers of the last part are done
    load_rows<Thin, kThin>(s, thin, rows, shared);
    const Wide* from = wide + (rows.b * s.height + rows.first) * s.width * s.wide + w;
    const int pixels = rows.count * width;
    const auto load = [&](int p, float(&to)[kLanes]) {
      for (float& v : to) v = 0.0f;
      if (w < s.wide && p < pixels) load_pair(from + p * s.wide, to);
    };
    float next[2][kLanes];  // on their way
    load(warp, next[0]);
    load(warp + kWarps, next[1]);
    __syncthreads();
    for (int p = warp; p < pixels; p += kWarps) {
      float v[kLanes];
      for (int i = 0; i < kLanes; ++i) v[i] = next[0][i], next[0][i] = next[1][i];
      load(p + 2 * kWarps, next[1]);
      const int corner = p / width * columns + p % width;
#pragma unroll
      for (int t = 0; t < 9; ++t) {
        const auto in = pixel_of<kThin>(shared, corner + t / 3 * columns + t % 3);
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
        float pair[kLanes];
        for (int i = 0; i < kLanes; ++i) pair[i] = added[n][lane * kLanes + i];
        store_pair(partial + ((blockIdx.x * int64_t{9} + t) * s.thin + n) * s.wide + w, pair);
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

// Bytes of shared memory for so many rows.
int shared_bytes(const ThinConvShape& s, int thin, int rows) {
  return static_cast<int>((rows + 2) * (s.width + 2) * padded(thin) * sizeof(float));
}
// Rows per part: the more, the less often weights are loaded and rows read twice.
int rows_per_part(const ThinConvShape& s, int thin) {
  int rows = 8;
  while (rows > 1 && shared_bytes(s, thin, rows) > (24 << 10)) rows /= 2;
  return rows;
}
int64_t part_count(const ThinConvShape& s, int rows) {
  return s.batch * ((s.height + rows - 1) / rows);
}

}  // namespace

void thin_to_wide(const ThinConvShape& s, Element thin_type, const void* thin, const float* weight,
                  const float* bias, Element wide_type, void* wide, void* stream) {
  const auto queue = static_cast<cudaStream_t>(stream);
  with_thin(s, [&](auto n) {
    const int rows = rows_per_part(s, n());
    const dim3 grid(static_cast<unsigned>(part_count(s, rows)), blocks_across(s));
    with_type(thin_type, [&](auto in) {
      with_type(wide_type, [&](auto out) {
        using In = decltype(in);
        using Out = decltype(out);
        thin_to_wide_kernel<In, Out, n()><<<grid, kThreads, shared_bytes(s, n(), rows), queue>>>(
            s, rows, static_cast<const In*>(thin), weight, bias, static_cast<Out*>(wide));
      });
    });
  });
  check_launch("thin_to_wide");
}

void wide_to_thin(const ThinConvShape& s, Element wide_type, const void* wide, const float* weight,
                  const float* bias, float* thin, void* stream) {
  const auto queue = static_cast<cudaStream_t>(stream);
  with_thin(s, [&](auto n) {
    const int rows = rows_per_part(s, n());
    with_type(wide_type, [&](auto in) {
      using In = decltype(in);
      const auto shared = static_cast<size_t>(rows) * s.width * n() * sizeof(float);
      wide_to_thin_kernel<In, n()>
          <<<static_cast<unsigned>(part_count(s, rows)), kThreads, shared, queue>>>(
              s, rows, static_cast<const In*>(wide), weight, bias, thin);
    });
  });
  check_launch("wide_to_thin");
}

void thin_wide_products(const ThinConvShape& s, Element thin_type, const void* thin,
                        Element wide_type, const void* wide, float* partial, void* stream) {
  const auto queue = static_cast<cudaStream_t>(stream);
  const dim3 grid(static_cast<unsigned>(thin_conv_parts(s)), blocks_across(s));
  with_thin(s, [&](auto n) {
    const int rows = rows_per_part(s, n());
    with_type(thin_type, [&](auto a) {
      with_type(wide_type, [&](auto c) {
        using Thin = decltype(a);
        using Wide = decltype(c);
        products_kernel<Thin, Wide, n()><<<grid, kThreads, shared_bytes(s, n(), rows), queue>>>(
            s, rows, part_count(s, rows), static_cast<const Thin*>(thin),
            static_cast<const Wide*>(wide), partial);
      });
    });
  });
  check_launch("thin_wide_products");
}

}  // namespace ddpm::kernels::cuda
