#include "kernels.h"

#include "architectures.h"
#include "check.h"
#include "group_norm.h"
#include "random.h"

#include <cuda_runtime_api.h>

namespace ddpm::kernels::cuda {
namespace {

int compute_capability(int device) {
  const auto attribute = [&](cudaDeviceAttr which) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
    return value;
  };
  return 10 * attribute(cudaDevAttrComputeCapabilityMajor) +
         attribute(cudaDevAttrComputeCapabilityMinor);
}

}  // namespace

const CudaKernels* cuda_kernels() {
  static constexpr CudaKernels kKernels{{group_norm_forward, group_norm_backward},
                                        {group_norm_forward, group_norm_backward},
                                        normal,
                                        uniform_int,
                                        compute_capability,
                                        row_sums,
                                        add_bias_residual,
                                        upsample,
                                        upsample_backward,
                                        convert,
                                        lerp,
                                        thin_to_wide,
                                        wide_to_thin,
                                        thin_wide_products};
  return &kKernels;
}

const char* cuda_architectures() { return DDPM_CUDA_ARCHITECTURES; }  // cmake/Modules.cmake

}  // namespace ddpm::kernels::cuda
