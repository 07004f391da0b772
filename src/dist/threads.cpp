#include "ddpm/base/host.h"
#include "ddpm/dist/launch.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include <ATen/Parallel.h>
#include <spdlog/spdlog.h>

namespace ddpm::dist {

int64_t threads_of_rank(int64_t configured, const Launch& launch) {
  if (configured > 0 || std::getenv("OMP_NUM_THREADS")) return configured;
  const int64_t cores = at::get_num_threads();
  const std::optional<double> quota = cpu_quota();
  const int64_t usable = usable_threads(cores, quota);
  if (usable < cores && launch.rank == 0) {
    spdlog::info(
        "{} CPU threads, not {}: the CPU quota of this container or job (cgroup) is {:g} {}; "
        "more threads would be stopped in every period (set run.threads or OMP_NUM_THREADS to "
        "choose)",
        usable, cores, *quota, *quota == 1.0 ? "core" : "cores");
  }
  if (usable == cores && launch.local_world_size == 1) return 0;
  return std::max<int64_t>(1, usable / launch.local_world_size);
}

void set_threads(int64_t threads) {
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
}

}  // namespace ddpm::dist
