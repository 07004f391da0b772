#pragma once

namespace ddpm::kernels {

/// Whether the CUDA kernels were compiled in.
bool has_cuda();

/// Whether this CPU multiplies bfloat16 on AMX tiles (Intel AMX-BF16) and the operating system
/// permits it. If so, bf16 is by far the fastest precision on the CPU.
bool has_amx();

}  // namespace ddpm::kernels
