#include "../gpu_id.h"

#include <cstring>

#include <ATen/cuda/CUDAContext.h>

namespace ddpm::dist {

std::array<int64_t, 2> gpu_id(const torch::Device& device) {
  std::array<int64_t, 2> id{};
  if (!device.is_cuda()) return id;
  const cudaDeviceProp* properties = at::cuda::getDeviceProperties(device.index());
  static_assert(sizeof properties->uuid == sizeof id);
  std::memcpy(id.data(), &properties->uuid, sizeof id);
  return id;
}

}  // namespace ddpm::dist
