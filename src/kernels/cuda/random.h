#pragma once

#include "ddpm/base/philox.h"

#include <cstdint>

// Random numbers of kernels/elementwise.h on CUDA: Philox is a function of (key, id, step, position), so
// each thread computes its four numbers on its own, and they equal the CPU's. kernels.h describes
// the arguments.

namespace ddpm::kernels::cuda {

void normal(float* out, int64_t rows, int64_t row_size, const int64_t* ids, RngKey key,
            uint32_t step, void* stream);

void uniform_int(int64_t* out, int64_t rows, const int64_t* ids, RngKey key, int64_t low,
                 uint32_t count, void* stream);

}  // namespace ddpm::kernels::cuda
