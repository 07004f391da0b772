#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

// Files of one JSON object per line, each with its "step".

namespace ddpm::io {

struct JsonLines {
  std::vector<nlohmann::ordered_json> objects;  ///< each has a whole number "step"
  int64_t damaged = 0;                          ///< lines that are not such an object
  int64_t first_damaged = 0;                    ///< number of the first of them, from 1 on
};

/// Leaves out damaged lines, as one that a crash cut off or that is being written.
JsonLines parse_json_lines(std::string_view text);
/// The same of a file; nothing if it does not exist. Throws IoError.
JsonLines read_json_lines(const std::filesystem::path& file);

}  // namespace ddpm::io
