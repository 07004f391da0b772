#include "ddpm/data/memory.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include <fmt/format.h>

namespace ddpm::data {
namespace {

constexpr uint64_t kUnknown = std::numeric_limits<uint64_t>::max();

// "MemAvailable:   12345 kB"
uint64_t free_on_machine() {
  std::ifstream file("/proc/meminfo");
  for (std::string key, rest; file >> key; std::getline(file, rest)) {
    if (uint64_t kib = 0; key == "MemAvailable:" && file >> kib) return kib * 1024;
  }
  return kUnknown;
}

// The number in a file; kUnknown for "max" or a missing file.
uint64_t number_in(const char* path) {
  uint64_t value = 0;
  return std::ifstream(path) >> value ? value : kUnknown;
}

uint64_t free_in_group(const char* limit, const char* used) {
  const uint64_t most = number_in(limit), taken = number_in(used);
  if (most == kUnknown || taken == kUnknown) return kUnknown;
  return most - std::min(most, taken);
}

}  // namespace

uint64_t available_memory() {
  // The process' own group as a container sees it, in cgroup versions 2 and 1.
  const uint64_t second =
      free_in_group("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current");
  const uint64_t first = free_in_group("/sys/fs/cgroup/memory/memory.limit_in_bytes",
                                       "/sys/fs/cgroup/memory/memory.usage_in_bytes");
  return std::min({free_on_machine(), first, second});
}

void expect_fits_memory(const std::filesystem::path& path, double bytes) {
  const uint64_t available = available_memory();
  if (bytes <= static_cast<double>(available)) return;
  constexpr double kMaxPrinted = 1e18;  // a damaged header may announce more
  throw IoError(path, fmt::format("needs {} of memory, of which {} are free; is it damaged? Images "
                                  "too many for the memory can be a .npy file, a zip or a folder",
                                  format_bytes(static_cast<uint64_t>(std::min(bytes, kMaxPrinted))),
                                  format_bytes(available)));
}

}  // namespace ddpm::data
