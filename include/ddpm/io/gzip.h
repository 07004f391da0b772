#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <vector>

namespace ddpm::io {

/// A whole file, unpacked if it begins like a gzip file (whatever its name). Of more than `most`
/// bytes only so many are unpacked. Throws IoError if it is missing, or a gzip file that is
/// truncated or damaged.
std::vector<uint8_t> read_file_maybe_gzip(const std::filesystem::path& path,
                                          uint64_t most = std::numeric_limits<uint64_t>::max());

}  // namespace ddpm::io
