#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace ddpm {

/// CPU limit of this process in cores, as containers and job systems set it in control groups:
/// cpu.max (cgroup v2) or cpu.cfs_quota_us / cpu.cfs_period_us (v1). The smallest limit of its
/// group and all parent groups; none if nothing limits it. `root` contains /proc and /sys.
std::optional<double> cpu_quota(const std::filesystem::path& root = "/");

/// Threads that `quota` lets run all the time, at least 1 and at most `cores`. With more threads,
/// the kernel stops all of them for the rest of every period.
int64_t usable_threads(int64_t cores, std::optional<double> quota);

}  // namespace ddpm
