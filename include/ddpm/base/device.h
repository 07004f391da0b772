#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm {

/// Maps "auto", "cpu", "cuda" or "cuda:1" to an existing device; "auto" is the first GPU, if there
/// is one. Throws UsageError.
torch::Device parse_device(const std::string& name);

/// "the CPU, 2 threads" or "cuda:0, 2 CPU threads".
std::string describe_device(const torch::Device& device);

/// A GPU, as its driver describes it.
struct Gpu {
  std::string name;         ///< "NVIDIA H100 80GB HBM3"
  uint64_t memory = 0;      ///< bytes
  int capability = 0;       ///< compute capability: 10 times the major number plus the minor one
  std::vector<bool> peers;  ///< by GPU: whether this one can access its memory directly
};

/// What the NVIDIA driver of this machine says.
struct CudaDriver {
  bool installed = false;
  std::string problem = {};    ///< why no GPU can be used; "" if one can
  int version = 0;             ///< the newest CUDA that it runs: 13000 for 13.0; 0 if unknown
  std::string release = {};    ///< of the kernel's module: "580.65.06"; "" if unknown
  std::vector<Gpu> gpus = {};  ///< cuda:0, cuda:1, ...; CUDA_VISIBLE_DEVICES may hide some
};

/// Asks the driver. Creates no CUDA context, so that no memory of a GPU is taken. `library`: the
/// driver's library.
CudaDriver read_cuda_driver(const char* library = "libcuda.so.1");

/// "13.0" for 13000.
std::string cuda_version_text(int version);

/// "9.0" for 90.
std::string capability_text(int capability);

}  // namespace ddpm
