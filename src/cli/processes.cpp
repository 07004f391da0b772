#include "processes.h"

#include <algorithm>
#include <cstdlib>

#include <ATen/Parallel.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace ddpm::cli {

dist::World join(const dist::Launch& launch, const torch::Device& device,
                 std::chrono::seconds timeout) {
  if (device.is_cuda()) c10::impl::VirtualGuardImpl(device.type()).setDevice(device);
  if (launch.single()) return dist::World();
  if (launch.rank == 0) {
    spdlog::info("{}", dist::describe(launch, device));
  } else {
    spdlog::set_level(spdlog::level::warn);
    spdlog::set_pattern(fmt::format("[%Y-%m-%d %H:%M:%S] %l rank {}: %v", launch.rank));
  }
  return dist::World(launch, device, timeout);
}

int64_t threads_of_rank(int64_t configured, const dist::Launch& launch) {
  if (configured > 0 || launch.local_world_size == 1 || std::getenv("OMP_NUM_THREADS"))
    return configured;
  return std::max<int64_t>(1, at::get_num_threads() / launch.local_world_size);
}

}  // namespace ddpm::cli
