#pragma once

#include <stdexcept>
#include <string>

#include <cuda_runtime.h>

namespace ddpm::kernels::cuda {

inline void check(cudaError_t error, const char* name) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string(name) + ": " + cudaGetErrorString(error));
}

/// Throws if one of the launches before it was refused.
inline void check_launch(const char* name) { check(cudaGetLastError(), name); }

}  // namespace ddpm::kernels::cuda
