#pragma once

#include "ddpm/base/philox.h"

#include <cstdint>

// The CUDA side of kernels/random.h, free of torch headers. All pointers are device pointers;
// stream is a cudaStream_t. src/kernels/cuda/random.cu defines it; src/kernels/no_cuda/random.cpp
// stands in without nvcc.

namespace ddpm::kernels::cuda {

/// Were the CUDA kernels compiled in?
bool available();

/// out[b * row_size + e] ~ N(0,1) in float32.
void normal(float* out, int64_t rows, int64_t row_size, const int64_t* ids, RngKey key,
            uint32_t step, void* stream);

/// out[b] uniform in low .. low + count - 1.
void uniform_int(int64_t* out, int64_t rows, const int64_t* ids, RngKey key, int64_t low,
                 uint32_t count, void* stream);

}  // namespace ddpm::kernels::cuda
