#include "ddpm/kernels/device.h"

#include "cpu_isa.h"
#include "cuda/architectures.h"
#include "cuda/kernels.h"

namespace ddpm::kernels {

bool has_cuda() { return cuda::cuda_kernels() != nullptr; }

std::string cuda_architectures() { return cuda::cuda_architectures(); }

bool has_amx() { return cpu_isa() == CpuIsa::kAmx; }

bool multiplies_bf16(const c10::Device& device) {
  if (device.is_cpu()) return cpu_isa() >= CpuIsa::kAvx512Bf16;
  if (!device.is_cuda() || !has_cuda()) return false;
  return cuda::cuda_kernels()->compute_capability(device.has_index() ? device.index() : 0) >= 80;
}

}  // namespace ddpm::kernels
