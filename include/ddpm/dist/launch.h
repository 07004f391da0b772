#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include <torch/types.h>

namespace ddpm::dist {

/// Looks up an environment variable; none if it is not set or empty.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;

/// The environment of this process.
Environment process_environment();

/// This process among those of one training, and where they meet.
struct Launch {
  int64_t rank = 0;              ///< 0 .. world_size - 1
  int64_t world_size = 1;        ///< processes in all
  int64_t local_rank = 0;        ///< rank among those of this machine
  int64_t local_world_size = 1;  ///< processes on this machine
  std::string master_addr;       ///< rank 0's machine; "" for a single process
  int master_port = 0;
  std::string found = "single process";  ///< torchrun, SLURM, Open MPI, PMI
  std::string job;                       ///< the launcher's name for this job, or ""
  int restart_count = 0;                 ///< restarts of all processes by torchrun
  bool agent_store = false;              ///< torchrun, not rank 0, listens at master_addr

  bool single() const { return world_size == 1; }
};

/// Detects how this process was started. The first match decides:
///   1. RANK, WORLD_SIZE, and what torchrun sets beside them
///   2. OMPI_COMM_WORLD_RANK, OMPI_COMM_WORLD_SIZE. Before SLURM: mpirun starts its daemons with
///      srun, whose variables the processes inherit
///   3. SLURM_PROCID, SLURM_STEP_NUM_TASKS, in a step of srun, whatever the job's name; not in a
///      shell of salloc, or of srun --pty (`on_terminal`)
///   4. PMI_RANK, PMI_SIZE
///   5. none: a single process
/// MASTER_ADDR defaults to the first host of the SLURM step, or to this machine if all processes
/// are on it. MASTER_PORT defaults to 15000 + the last four digits of SLURM_JOB_ID + SLURM_STEP_ID,
/// or of a hash of the launcher's job name, else to 29500. Throws UsageError if an environment is
/// incomplete or contradictory, or if a SLURM job has several tasks but srun did not start this
/// process.
Launch detect_launch(const Environment& environment, bool on_terminal = false);

/// One line: "4 processes on 2 machines (SLURM), rank 0 on cuda:0, meeting at node01:16234".
std::string describe(const Launch& launch, const torch::Device& device);

/// CPU threads for this process: `configured` if it is not 0; else its share of the cores that the
/// machine and a container's CPU quota allow. 0: ATen's default, because OMP_NUM_THREADS is set or
/// because all cores are its own.
int64_t threads_of_rank(int64_t configured, const Launch& launch);

/// Sets the CPU threads for tensor work; 0: keeps ATen's default.
void set_threads(int64_t threads);

// What a connection between processes needs of this machine.

/// Why rank 0 cannot wait for the other processes at `port`; "" if it can. `only_this_machine`: all
/// processes are on it.
std::string port_problem(int port, bool only_this_machine);

/// The version of NCCL, "2.28.9"; "" if the program was built without it.
std::string nccl_version();

}  // namespace ddpm::dist
