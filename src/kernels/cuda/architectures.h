#pragma once

namespace ddpm::kernels::cuda {

/// The GPU architectures of the CUDA kernels, as CMake names them: "80-real 90-real 90-virtual"; ""
/// in a build without nvcc.
const char* cuda_architectures();

}  // namespace ddpm::kernels::cuda
