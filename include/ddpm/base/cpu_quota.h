#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace ddpm {

/// How many cores' time the control groups of this process let it use, as containers and job
/// systems set it: cpu.max (cgroup v2) or cpu.cfs_quota_us / cpu.cfs_period_us (v1), the least of
/// its group and of those above. Nothing if none limits it. `root`: where /proc and /sys are.
std::optional<double> cpu_quota(const std::filesystem::path& root = "/");

/// Of `cores` that the process may run on, as many as the quota feeds all the time; at least 1.
/// With more, all are stopped for the rest of every period, each at another place.
int64_t usable_threads(int64_t cores, std::optional<double> quota);

}  // namespace ddpm
