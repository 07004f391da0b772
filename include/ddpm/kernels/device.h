#pragma once

#include <string>

#include <c10/core/Device.h>

namespace ddpm::kernels {

/// Whether the CUDA kernels were compiled in.
bool has_cuda();

/// The GPU architectures that the CUDA kernels were compiled for, as CMake names them: "80-real
/// 90-real 90-virtual"; "" if they were not compiled in.
std::string cuda_architectures();

/// The instruction set of the CPU's kernels in use: base, avx2, avx512, avx512_bf16 or amx. Throws
/// UsageError if DDPM_MAX_CPU_ISA is wrong.
std::string cpu_kernels();
/// The newest that this CPU and this program support.
std::string supported_cpu_kernels();

/// Whether this CPU multiplies bfloat16 on AMX tiles (Intel AMX-BF16) and the operating system
/// permits it. If so, bf16 is by far the fastest precision on the CPU.
bool has_amx();

/// Whether the device has instructions for products of bfloat16: a GPU of compute capability 8.0 or
/// higher (if the CUDA kernels were compiled in), a CPU with AMX-BF16 or AVX-512-BF16. The
/// environment variable DDPM_MAX_CPU_ISA (base, avx2, avx512, avx512_bf16, amx) limits what is used
/// of the CPU.
bool multiplies_bf16(const c10::Device& device);

}  // namespace ddpm::kernels
