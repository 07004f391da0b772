#include "../random_device.h"

#include <stdexcept>

namespace ddpm::kernels::cuda {

bool available() { return false; }

void normal(float*, int64_t, int64_t, const int64_t*, RngKey, uint32_t, void*) {
  throw std::logic_error("built without CUDA kernels");
}

void uniform_int(int64_t*, int64_t, const int64_t*, RngKey, int64_t, uint32_t, void*) {
  throw std::logic_error("built without CUDA kernels");
}

}  // namespace ddpm::kernels::cuda
