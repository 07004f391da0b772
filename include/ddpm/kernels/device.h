#pragma once

#include <c10/core/Device.h>

namespace ddpm::kernels {

/// Whether the CUDA kernels were compiled in.
bool has_cuda();

/// Whether this CPU multiplies bfloat16 on AMX tiles (Intel AMX-BF16) and the operating system
/// permits it. If so, bf16 is by far the fastest precision on the CPU.
bool has_amx();

/// Whether the device has instructions for products of bfloat16: a GPU of compute capability 8.0 or
/// higher (if the CUDA kernels were compiled in), a CPU with AMX-BF16 or AVX-512-BF16. The
/// environment variable DDPM_MAX_CPU_ISA (base, avx2, avx512, avx512_bf16, amx) limits what is used
/// of the CPU.
bool multiplies_bf16(const c10::Device& device);

}  // namespace ddpm::kernels
