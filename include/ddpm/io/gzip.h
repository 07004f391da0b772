#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <vector>

namespace ddpm::io {

/// A file's content, unpacked if it begins like a gzip file (whatever its name), and at most the
/// first `most` bytes of it. Throws IoError if the file is missing, or is a gzip file that is
/// truncated or damaged.
std::vector<uint8_t> read_file_maybe_gzip(const std::filesystem::path& path,
                                          uint64_t most = std::numeric_limits<uint64_t>::max());

}  // namespace ddpm::io
