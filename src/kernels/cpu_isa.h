#pragma once

namespace ddpm::kernels {

/// The instruction sets that the CPU's kernels are written for. Each includes those before it.
enum class CpuIsa { kBase, kAvx2, kAvx512, kAvx512Bf16, kAmx };

/// The newest that compiler, processor and operating system support.
CpuIsa supported_cpu_isa();

/// The newest up to `limit`: "base", "avx2", "avx512", "avx512_bf16", "amx", or nullptr for no
/// limit. Another name is a UsageError.
CpuIsa cpu_isa(const char* limit);

/// The one that the kernels use: up to the environment variable DDPM_MAX_CPU_ISA if it is set.
/// ONEDNN_MAX_CPU_ISA limits LibTorch's own kernels likewise.
CpuIsa cpu_isa();

}  // namespace ddpm::kernels
