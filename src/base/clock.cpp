#include "ddpm/base/clock.h"

#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace ddpm {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

std::string utc_now() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
}

}  // namespace ddpm
