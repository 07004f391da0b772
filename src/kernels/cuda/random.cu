#include "check.h"
#include "random.h"

#include <cuda_runtime.h>

namespace ddpm::kernels::cuda {
namespace {

constexpr int kThreads = 256;

unsigned int blocks_for(int64_t work) {
  return static_cast<unsigned int>((work + kThreads - 1) / kThreads);
}

// One thread computes the four normals of one Philox block; with one store if rows are `aligned`,
// multiples of 16 bytes.
__global__ void normal_kernel(float* out, int64_t rows, int64_t row_size, const int64_t* ids,
                              RngKey key, uint32_t step, bool aligned) {
  const int64_t blocks_per_row = (row_size + 3) / 4;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= rows * blocks_per_row) return;
  const int64_t row = i / blocks_per_row;
  const int64_t block = i % blocks_per_row;
  const Words words =
      philox(key, static_cast<uint64_t>(ids[row]), step, static_cast<uint32_t>(block));
  float z[4];
  box_muller(words.w[0], words.w[1], &z[0], &z[1]);
  box_muller(words.w[2], words.w[3], &z[2], &z[3]);
  float* destination = out + row * row_size + block * 4;
  if (aligned) {
    *reinterpret_cast<float4*>(destination) = make_float4(z[0], z[1], z[2], z[3]);
    return;
  }
  const int64_t left = row_size - block * 4;
  for (int k = 0; k < 4 && k < left; ++k) destination[k] = z[k];
}

__global__ void uniform_int_kernel(int64_t* out, int64_t rows, const int64_t* ids, RngKey key,
                                   int64_t low, uint32_t count) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const Words words = philox(key, static_cast<uint64_t>(ids[row]), 0, 0);
  out[row] = low + uniform_below(words.w[0], count);
}

}  // namespace

void normal(float* out, int64_t rows, int64_t row_size, const int64_t* ids, RngKey key,
            uint32_t step, void* stream) {
  const int64_t work = rows * ((row_size + 3) / 4);
  if (work == 0) return;
  const bool aligned = row_size % 4 == 0 && reinterpret_cast<uintptr_t>(out) % 16 == 0;
  normal_kernel<<<blocks_for(work), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      out, rows, row_size, ids, key, step, aligned);
  check_launch("normal");
}

void uniform_int(int64_t* out, int64_t rows, const int64_t* ids, RngKey key, int64_t low,
                 uint32_t count, void* stream) {
  if (rows == 0) return;
  uniform_int_kernel<<<blocks_for(rows), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      out, rows, ids, key, low, count);
  check_launch("uniform_int");
}

}  // namespace ddpm::kernels::cuda
