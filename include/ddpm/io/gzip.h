#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace ddpm::io {

/// A whole file, unpacked where it begins like a gzip file (whatever its name). Throws IoError
/// where it is missing, or a gzip file that is truncated or damaged.
std::vector<uint8_t> read_file_maybe_gzip(const std::filesystem::path& path);

}  // namespace ddpm::io
