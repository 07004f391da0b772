#include "ddpm/dist/launch.h"

#include "ddpm/base/error.h"
#include "slurm.h"

#include <charconv>
#include <cstdlib>
#include <initializer_list>

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

// A launcher's variables. The local ones may be missing.
struct Names {
  const char* launcher;
  const char* rank;
  const char* size;
  const char* local_rank;
  const char* local_size;
};

constexpr Names kTorchrun{"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"};
constexpr Names kSlurmStep{"SLURM", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", ""};
constexpr Names kSlurm{"SLURM", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", ""};
constexpr Names kOpenMpi{"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                         "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"};
constexpr Names kPmi{"PMI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"};

// None if neither number is set.
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

// Whether this is a step that srun started for tasks. Batch scripts and shells of salloc run in no
// step, or in one of SLURM's own (slurm.h: SLURM_BATCH_SCRIPT, SLURM_INTERACTIVE_STEP,
// SLURM_EXTERN_CONT).
bool in_srun_step(const Environment& environment, bool on_terminal) {
  const auto step = environment("SLURM_STEP_ID");
  if (!step) return false;
  for (const char* own :
       {"batch", "interactive", "extern", "4294967291", "4294967290", "4294967292"}) {
    if (*step == own) return false;
  }
  // srun --pty starts a shell on a terminal. A step within that shell inherits the variable, but
  // its tasks have no terminal.
  return !(on_terminal && environment("SLURM_PTY_PORT"));
}

// Outside of steps only the job name distinguishes a shell of salloc from a script of sbatch.
bool is_shell(const Environment& environment) {
  const auto name = environment("SLURM_JOB_NAME");
  return environment("SLURM_PTY_PORT") || environment("SLURM_STEP_ID") == "interactive" ||
         environment("SLURM_STEP_ID") == "4294967290" ||
         (name && (*name == "bash" || *name == "interactive"));
}

int64_t slurm_local_size(const Environment& environment, const Launch& launch) {
  auto text = environment("SLURM_STEP_TASKS_PER_NODE");
  if (!text) text = environment("SLURM_TASKS_PER_NODE");
  if (!text) return launch.local_rank + 1;
  const std::vector<int64_t> counts = expand_tasks_per_node(*text);
  const auto node = static_cast<size_t>(integer(environment, "SLURM_NODEID").value_or(0));
  return node < counts.size() ? counts[node] : counts.front();
}

std::optional<Launch> read_slurm(const Environment& environment, bool on_terminal) {
  if (!in_srun_step(environment, on_terminal)) return std::nullopt;
  auto launch = read(environment, environment(kSlurmStep.size) ? kSlurmStep : kSlurm);
  if (!launch) return launch;
  launch->local_world_size = slurm_local_size(environment, *launch);
  auto job = environment("SLURM_HET_JOB_ID");
  if (!job) job = environment("SLURM_JOB_ID");
  launch->job = fmt::format("SLURM {}.{}", job.value_or("?"), *environment("SLURM_STEP_ID"));
  return launch;
}

// Throws UsageError if the script of a job with several tasks calls the program without srun.
void expect_no_lost_task(const Environment& environment) {
  const int64_t tasks = integer(environment, "SLURM_NTASKS").value_or(1);
  if (tasks == 1 || is_shell(environment)) return;
  throw UsageError(fmt::format(
      "the SLURM job has {} tasks (SLURM_NTASKS), but this process is not one of them; start it "
      "with srun, or unset SLURM_NTASKS for a single process",
      tasks));
}

// The launcher's name for this start of all processes, or "".
std::string job_name(const Environment& environment, const Launch& launch) {
  const auto first_of = [&](std::initializer_list<const char*> names) {
    for (const char* name : names) {
      if (const auto value = environment(name)) return launch.found + " " + *value;
    }
    return std::string();
  };
  if (launch.found == kTorchrun.launcher) return first_of({"TORCHELASTIC_RUN_ID"});
  if (launch.found == kOpenMpi.launcher)
    return first_of({"PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "OMPI_MCA_orte_ess_jobid"});
  if (launch.found == kPmi.launcher) return first_of({"PMI_JOBID"});
  return launch.job;
}

// FNV-1a, the same on every machine.
uint64_t hash_of(const std::string& text) {
  uint64_t hash = 14695981039346656037ULL;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211ULL;
  return hash;
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
  // Processes of another launcher may have inherited the SLURM step of its daemon.
  const bool own_step = launch.found == kSlurm.launcher;
  for (const char* name : {own_step ? "SLURM_STEP_NODELIST" : "SLURM_JOB_NODELIST",
                           "SLURM_JOB_NODELIST", "SLURM_NODELIST"}) {
    if (const auto nodes = environment(name)) return expand_nodelist(*nodes).front();
  }
  // If RANK is set by hand, MASTER_ADDR is required too.
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
  // Depends on the job, so that two jobs on one machine use different ports.
  constexpr int64_t kFirst = 15000, kCount = 10000;
  if (launch.found == kSlurm.launcher) {
    const int64_t job = integer(environment, "SLURM_JOB_ID").value_or(0);
    const int64_t step = integer(environment, "SLURM_STEP_ID").value_or(0);
    return static_cast<int>(kFirst + (job + step) % kCount);
  }
  const bool torchrun = launch.found == kTorchrun.launcher;
  if (!torchrun && !launch.job.empty())
    return static_cast<int>(kFirst + static_cast<int64_t>(hash_of(launch.job) % kCount));
  if (const auto job = integer(environment, "SLURM_JOB_ID"))
    return static_cast<int>(kFirst + *job % kCount);
  if (torchrun) {
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

Launch detect_launch(const Environment& environment, bool on_terminal) {
  std::optional<Launch> found = read(environment, kTorchrun);
  const Names* names = &kTorchrun;
  if (!found) found = read(environment, kOpenMpi), names = &kOpenMpi;
  if (!found) found = read_slurm(environment, on_terminal), names = &kSlurm;
  if (!found) found = read(environment, kPmi), names = &kPmi;
  if (!found) {
    expect_no_lost_task(environment);
    return {};
  }
  expect_local_ranks(*found, *names);
  if (found->single()) return *found;
  found->job = job_name(environment, *found);
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
