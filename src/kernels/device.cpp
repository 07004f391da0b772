#include "ddpm/kernels/device.h"

#include "amx/tiles.h"
#include "cuda/kernels.h"

namespace ddpm::kernels {

bool has_cuda() { return cuda::cuda_kernels() != nullptr; }

bool has_amx() { return amx::tile_loops() != nullptr; }

}  // namespace ddpm::kernels
