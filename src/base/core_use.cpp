#include "ddpm/base/clock.h"
#include "ddpm/base/host.h"

#include <algorithm>
#include <cctype>
#include <ctime>
#include <fstream>
#include <sstream>

#include <unistd.h>

namespace ddpm {
namespace {

CoreTime core_time() {
  std::ifstream file("/proc/stat");
  std::ostringstream text;
  text << file.rdbuf();
  return core_time_of(text.str(), static_cast<double>(::sysconf(_SC_CLK_TCK)));
}

double own_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

}  // namespace

CoreTime core_time_of(const std::string& stat, double ticks_per_s) {
  CoreTime time;
  std::istringstream lines(stat);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("cpu") || line.size() < 4 || std::isdigit(line[3]) == 0) continue;
    std::istringstream fields(line);
    std::string name;
    double user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0;
    if (fields >> name >> user >> nice >> system >> idle >> iowait >> irq >> softirq) {
      time.busy_s += (user + nice + system + irq + softirq) / ticks_per_s;
      ++time.cores;
    }
  }
  return time;
}

CoreUse::CoreUse() : begin_(core_time()), own_s_(own_seconds()) {}

double CoreUse::seconds() const { return seconds_since(since_); }

double CoreUse::by_others() const {
  const double wall = seconds();
  if (begin_.cores == 0 || wall <= 0) return 0.0;
  const double all = core_time().busy_s - begin_.busy_s;
  const double others = (all - (own_seconds() - own_s_)) / wall;
  return std::clamp(others, 0.0, static_cast<double>(begin_.cores));
}

}  // namespace ddpm
