#include "processes.h"

#include "ddpm/cli/common.h"
#include "ddpm/train/experiment.h"

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
  if (launch.rank == 0) {
    if (!launch.single()) spdlog::info("{}", dist::describe(launch, device));
  } else {
    spdlog::set_level(spdlog::level::warn);
    spdlog::set_pattern(fmt::format("[%Y-%m-%d %H:%M:%S] %l rank {}: %v", launch.rank));
  }
  return launch.single() ? dist::World() : dist::World(launch, device, timeout);
}

std::string describe_device(const torch::Device& device) {
  const int threads = at::get_num_threads();
  return device.is_cpu() ? "the CPU, " + counted(threads, "thread")
                         : fmt::format("{}, {}", device.str(), counted(threads, "CPU thread"));
}

int64_t threads_of_rank(int64_t configured, const dist::Launch& launch) {
  if (configured > 0 || launch.local_world_size == 1 || std::getenv("OMP_NUM_THREADS"))
    return configured;
  return std::max<int64_t>(1, at::get_num_threads() / launch.local_world_size);
}

dist::Launch detected_launch() { return dist::detect_launch(dist::process_environment()); }

Processes join_to_draw(const dist::Launch& launch, const std::string& device_name) {
  constexpr std::chrono::hours kLongestShare{24 * 7};
  const torch::Device device = train::rank_device(device_name, launch);
  set_threads(threads_of_rank(0, launch));
  return {join(launch, device, kLongestShare), device};
}

}  // namespace ddpm::cli
