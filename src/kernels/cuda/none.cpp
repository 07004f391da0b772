#include "architectures.h"
#include "kernels.h"

// Takes the place of the CUDA kernels in a build without nvcc.

namespace ddpm::kernels::cuda {

const CudaKernels* cuda_kernels() { return nullptr; }

const char* cuda_architectures() { return ""; }

}  // namespace ddpm::kernels::cuda
