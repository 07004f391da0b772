#include "kernels.h"

#include "group_norm.h"
#include "random.h"

namespace ddpm::kernels::cuda {

const CudaKernels* cuda_kernels() {
  static constexpr CudaKernels kKernels{{group_norm_forward, group_norm_backward},
                                        {group_norm_forward, group_norm_backward},
                                        normal,
                                        uniform_int,
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

}  // namespace ddpm::kernels::cuda
