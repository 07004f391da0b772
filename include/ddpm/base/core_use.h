#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace ddpm {

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
