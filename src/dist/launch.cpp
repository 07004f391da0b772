#include "ddpm/dist/launch.h"

#include "ddpm/base/error.h"
#include "slurm.h"

#include <charconv>
#include <cstdlib>

#include <fmt/format.h>

namespace ddpm::dist {
namespace {

constexpr int kDefaultPort = 29500;  // PyTorch's

std::optional<int64_t> integer(const Environment& environment, const std::string& name) {
  const auto text = environment(name);
  if (!text) return std::nullopt;
  int64_t value = -1;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size() || value < 0) {
    throw UsageError(
        fmt::format("{} is \"{}\" in the environment, not a number of 0 or more; "
                    "unset it, or start all processes with torchrun, srun or mpirun",
                    name, *text));
  }
  return value;
}

// A launcher's names for its numbers. `local` ones may be missing.
struct Names {
  const char* launcher;
  const char* rank;
  const char* size;
  const char* local_rank;
  const char* local_size;
};

constexpr Names kTorchrun{"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"};
constexpr Names kSlurm{"SLURM", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", ""};
constexpr Names kOpenMpi{"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                         "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"};
constexpr Names kPmi{"PMI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"};

// Nothing where neither number is set.
std::optional<Launch> read(const Environment& environment, const Names& names) {
  const auto rank = integer(environment, names.rank), size = integer(environment, names.size);
  if (!rank && !size) return std::nullopt;
  if (!rank || !size) {
    throw UsageError(
        fmt::format("{} is set in the environment, but {} is not; set both for each "
                    "process (torchrun, srun and mpirun do), or neither",
                    rank ? names.rank : names.size, rank ? names.size : names.rank));
  }
  if (*rank >= *size) {
    throw UsageError(fmt::format("{}={} does not fit {}={}: ranks are 0 to {}", names.rank, *rank,
                                 names.size, *size, *size - 1));
  }
  Launch launch;
  launch.found = names.launcher;
  launch.rank = *rank;
  launch.world_size = *size;
  launch.local_rank = integer(environment, names.local_rank).value_or(0);
  launch.local_world_size = integer(environment, names.local_size).value_or(1);
  return launch;
}

// In a step that srun started; a batch script and a shell of salloc have the job's variables alone.
bool in_srun_step(const Environment& environment) {
  constexpr const char* kBatchStep = "4294967291";
  const auto step = environment("SLURM_STEP_ID");
  return step && *step != "batch" && *step != kBatchStep;
}

bool in_interactive_shell(const Environment& environment) {
  const auto name = environment("SLURM_JOB_NAME");
  return name && (*name == "bash" || *name == "interactive");
}

int64_t slurm_local_size(const Environment& environment, const Launch& launch) {
  auto text = environment("SLURM_STEP_TASKS_PER_NODE");
  if (!text) text = environment("SLURM_TASKS_PER_NODE");
  if (!text) return launch.local_rank + 1;
  const std::vector<int64_t> counts = expand_tasks_per_node(*text);
  const auto node = static_cast<size_t>(integer(environment, "SLURM_NODEID").value_or(0));
  return node < counts.size() ? counts[node] : counts.front();
}

std::optional<Launch> read_slurm(const Environment& environment) {
  if (in_interactive_shell(environment)) return std::nullopt;
  if (in_srun_step(environment)) {
    auto launch = read(environment, kSlurm);
    if (launch) launch->local_world_size = slurm_local_size(environment, *launch);
    return launch;
  }
  const int64_t tasks = integer(environment, "SLURM_NTASKS").value_or(1);
  if (tasks > 1) {
    throw UsageError(fmt::format(
        "the SLURM job has {} tasks (SLURM_NTASKS), but this process is not one of them; start it "
        "with srun, or unset SLURM_NTASKS for a single process",
        tasks));
  }
  return std::nullopt;
}

void expect_local_ranks(const Launch& launch, const Names& names) {
  if (launch.local_rank < launch.local_world_size && launch.local_world_size <= launch.world_size)
    return;
  throw UsageError(
      fmt::format("{} is {}, but {} of the {} processes are on this machine; check {} and {}",
                  names.local_rank, launch.local_rank, launch.local_world_size, launch.world_size,
                  names.local_rank, *names.local_size ? names.local_size : "SLURM_TASKS_PER_NODE"));
}

std::string master_address(const Environment& environment, const Launch& launch) {
  if (const auto address = environment("MASTER_ADDR")) return *address;
  for (const char* name : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"}) {
    if (const auto nodes = environment(name)) return expand_nodelist(*nodes).front();
  }
  // Who sets RANK by hand says where to meet as well.
  const bool all_here = launch.local_world_size == launch.world_size;
  if (all_here && launch.found != kTorchrun.launcher) return "127.0.0.1";
  throw UsageError(
      fmt::format("{} processes were started ({}), but MASTER_ADDR is not set; set it to the name "
                  "of rank 0's machine, the same for all",
                  launch.world_size, launch.found));
}

int master_port(const Environment& environment, const Launch& launch) {
  const auto port = integer(environment, "MASTER_PORT");
  if (port && (*port < 1 || *port > 65535))
    throw UsageError(fmt::format("MASTER_PORT is {}; use 1 to 65535", *port));
  if (port) return static_cast<int>(*port);
  if (const auto job = integer(environment, "SLURM_JOB_ID"))
    return static_cast<int>(15000 + *job % 10000);
  if (launch.found == kTorchrun.launcher) {
    throw UsageError(
        fmt::format("{} processes were started ({}), but MASTER_PORT is not set; set it to a free "
                    "port of MASTER_ADDR, the same for all",
                    launch.world_size, launch.found));
  }
  return kDefaultPort;
}

}  // namespace

Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    return value != nullptr && *value != '\0' ? std::optional<std::string>(value) : std::nullopt;
  };
}

Launch detect_launch(const Environment& environment) {
  std::optional<Launch> found = read(environment, kTorchrun);
  const Names* names = &kTorchrun;
  if (!found) found = read_slurm(environment), names = &kSlurm;
  if (!found) found = read(environment, kOpenMpi), names = &kOpenMpi;
  if (!found) found = read(environment, kPmi), names = &kPmi;
  if (!found) return {};
  expect_local_ranks(*found, *names);
  if (found->single()) return *found;
  found->master_addr = master_address(environment, *found);
  found->master_port = master_port(environment, *found);
  found->restart_count =
      static_cast<int>(integer(environment, "TORCHELASTIC_RESTART_COUNT").value_or(0));
  found->agent_store = environment("TORCHELASTIC_USE_AGENT_STORE") == "True";
  return *found;
}

std::string describe(const Launch& launch, const torch::Device& device) {
  if (launch.single()) return fmt::format("a single process on {}", device.str());
  std::string restarts;
  if (launch.restart_count > 0) restarts = fmt::format(", restart {}", launch.restart_count);
  return fmt::format("{} processes ({}), {} on this machine; rank {} on {}; meeting at {}:{}{}",
                     launch.world_size, launch.found, launch.local_world_size, launch.rank,
                     device.str(), launch.master_addr, launch.master_port, restarts);
}

}  // namespace ddpm::dist
