#pragma once

#include <cstdint>
#include <string>

namespace ddpm {

/// A size for people, in the unit that leaves it below 1000: "512 B", "46.1 kB", "1.18 MB",
/// "4.25 GB". Three digits; powers of 1000, as disks are sold.
std::string format_bytes(uint64_t bytes);

}  // namespace ddpm
