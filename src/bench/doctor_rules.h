#pragma once

#include "ddpm/base/device.h"
#include "ddpm/bench/doctor.h"
#include "ddpm/bench/machine.h"

#include <cstdint>
#include <optional>
#include <string>

// What ddpm doctor makes of the facts that it finds. These functions look at nothing themselves.

namespace ddpm::bench {

/// Whether the kernels of the CPU are the best that it supports. `supported`: as
/// kernels::supported_cpu_kernels.
Finding judge_processor(const Processor& processor, const std::string& supported);

/// Whether the GPUs can be used, and are. `wanted`: whether the user asked for a GPU.
Finding judge_gpu(const Libraries& libraries, const CudaDriver& driver, bool wanted);

/// Communication between GPUs.
Finding judge_nccl(const Libraries& libraries, size_t gpus);
Finding judge_peers(const CudaDriver& driver);

/// CPU threads. `threads`: of the tensor library at the start; `quota`: of the control group, in
/// cores; `chosen`: OMP_NUM_THREADS, or "".
Finding judge_threads(int64_t threads, int64_t cores, std::optional<double> quota,
                      const std::string& chosen);

/// Programs that already run: the load of the last minute, as in /proc/loadavg.
Finding judge_load(double load, int64_t cores);

Finding judge_memory(uint64_t available);

/// The limit of this process (ulimit -n).
Finding judge_open_files(uint64_t limit);

/// Size of /dev/shm, in bytes; 0: it does not exist. NCCL uses it between the GPUs of a machine.
Finding judge_shared_memory(uint64_t bytes, size_t gpus);

/// Rates of the run folder's disk, in bytes per second, and its free space.
struct DiskRates {
  uint64_t bytes = 0;  ///< written and read
  double write = 0, read = 0;
  uint64_t free = 0;
  std::string folder;
};
Finding judge_disk(const DiskRates& rates);

/// A part of the program against this machine's own rate of 3x3 convolutions.
struct Speed {
  std::string check;        ///< "training step"
  double seconds = 0;       ///< of one run
  double conv_seconds = 0;  ///< its convolutions alone
  double share = 0;         ///< its FLOP rate / that of the convolutions
  double spread = 0;        ///< of its times: Times::spread
  std::string what;         ///< "8 images, bf16 on cpu"
};
/// `expected`: the least share of a machine that works.
Finding judge_speed(const Speed& speed, double expected);

}  // namespace ddpm::bench
