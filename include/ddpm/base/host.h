#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace ddpm {

/// This machine's name; "localhost" if it is unknown.
std::string host_name();

/// CPU limit of this process in cores, as containers and job systems set it in control groups:
/// cpu.max (cgroup v2) or cpu.cfs_quota_us / cpu.cfs_period_us (v1). The smallest limit of its
/// group and all parent groups; none if nothing limits it. `root` contains /proc and /sys.
std::optional<double> cpu_quota(const std::filesystem::path& root = "/");

/// Threads that `quota` lets run all the time, at least 1 and at most `cores`. With more threads,
/// the kernel stops all of them for the rest of every period.
int64_t usable_threads(int64_t cores, std::optional<double> quota);

/// Time that the cores of a machine were busy.
struct CoreTime {
  double busy_s = 0.0;  ///< of all cores together, since the machine began
  int64_t cores = 0;
};

/// From the text of /proc/stat (proc(5)); `ticks_per_s` as sysconf(_SC_CLK_TCK). No cores if it is
/// another text.
CoreTime core_time_of(const std::string& stat, double ticks_per_s);

/// How many of the machine's cores other processes use.
class CoreUse {
 public:
  CoreUse();
  int64_t cores() const { return begin_.cores; }  ///< 0 if the system does not say
  double seconds() const;                         ///< since construction
  /// The mean number since construction, 0 to cores().
  double by_others() const;

 private:
  CoreTime begin_;
  double own_s_ = 0.0;
  std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
};

}  // namespace ddpm
