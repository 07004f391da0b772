#pragma once

#include "ddpm/base/device.h"

#include <cstdint>
#include <string>

namespace ddpm::bench {

/// What the program was built with. Nothing here opens a device.
struct Libraries {
  std::string torch;       ///< LibTorch, "2.11.0"
  int cuda = 0;            ///< of LibTorch: 13000 for 13.0; 0: a CPU build
  std::string cudnn = {};  ///< of LibTorch: "9.19.0", or ""
  std::string nccl = {};   ///< "2.28.9", or "" without it
  std::string architectures =
      {};  ///< of the CUDA kernels, as CMake names them; "": not compiled in
};
Libraries libraries();

/// The CPU of this machine.
struct Processor {
  std::string name;     ///< "" if unknown
  int64_t cores = 0;    ///< that this process may use
  uint64_t memory = 0;  ///< of the machine, bytes
  std::string kernels;  ///< instruction set of the kernels in use; "": see problem
  std::string problem;  ///< what is wrong with DDPM_MAX_CPU_ISA, or ""
};
Processor processor();

/// "80, 90; PTX 90 for newer GPUs" for "80-real 90-real 90-virtual".
std::string describe_architectures(const std::string& architectures);

/// Whether kernels of these architectures run on a GPU of this compute capability: code for the
/// same major number and at most its minor number, or PTX for at most the capability.
bool runs_on(const std::string& architectures, int capability);

/// The lines and the JSON of ddpm --version. `version`: of the program.
std::string version_text(const std::string& version);
std::string version_json(const std::string& version);

}  // namespace ddpm::bench
