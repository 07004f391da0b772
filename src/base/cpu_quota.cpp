#include "ddpm/base/host.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace ddpm {
namespace {

namespace fs = std::filesystem;

// Words of a file; none if it cannot be read.
std::vector<std::string> words_of(const fs::path& path) {
  std::ifstream file(path);
  std::vector<std::string> words;
  for (std::string word; file >> word;) words.push_back(word);
  return words;
}

// quota / period; nothing for "max", -1 and other texts.
std::optional<double> ratio(const std::string& quota, const std::string& period) {
  try {
    const double q = std::stod(quota), p = std::stod(period);
    if (q > 0 && p > 0) return q / p;
  } catch (const std::logic_error&) {
  }
  return std::nullopt;
}

std::optional<double> quota_v2(const fs::path& group) {
  const auto max = words_of(group / "cpu.max");  // "200000 100000" or "max 100000"
  return max.size() == 2 ? ratio(max[0], max[1]) : std::nullopt;
}

std::optional<double> quota_v1(const fs::path& group) {
  const auto quota = words_of(group / "cpu.cfs_quota_us"),
             period = words_of(group / "cpu.cfs_period_us");
  return quota.size() == 1 && period.size() == 1 ? ratio(quota[0], period[0]) : std::nullopt;
}

// Over `group` below `mount` and all its parents. In a container the group's path may be the
// host's, while the mount begins at the container's own group.
template <class Quota>
void take_least(const fs::path& mount, const fs::path& group, const Quota& quota_of,
                std::optional<double>& least) {
  for (fs::path path = group.relative_path();; path = path.parent_path()) {
    if (const auto quota = quota_of(mount / path)) least = std::min(least.value_or(*quota), *quota);
    if (path.empty()) return;
  }
}

bool names(const std::string& controllers, const std::string& wanted) {
  std::istringstream list(controllers);
  for (std::string name; std::getline(list, name, ',');) {
    if (name == wanted) return true;
  }
  return false;
}

}  // namespace

std::optional<double> cpu_quota(const fs::path& root) {
  const fs::path mounts = root / "sys/fs/cgroup";
  std::optional<double> least;
  std::ifstream groups(root / "proc/self/cgroup");  // lines "4:cpu,cpuacct:/a/b"; v2: "0::/a/b"
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const fs::path group = line.substr(second + 1);
    if (controllers.empty()) {
      take_least(mounts, group, quota_v2, least);
      take_least(mounts / "unified", group, quota_v2, least);  // v1 may be mounted beside it
    } else if (names(controllers, "cpu")) {
      take_least(mounts / controllers, group, quota_v1, least);
      if (controllers != "cpu") take_least(mounts / "cpu", group, quota_v1, least);
    }
  }
  return least;
}

int64_t usable_threads(int64_t cores, std::optional<double> quota) {
  if (!quota) return cores;
  return std::clamp<int64_t>(static_cast<int64_t>(std::floor(*quota)), 1, cores);
}

}  // namespace ddpm
