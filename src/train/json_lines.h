#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include <nlohmann/json_fwd.hpp>

// Files of one JSON object per line, each with its "step".

namespace ddpm::train {

/// The lines up to `step`, without a last line that a crash truncated; none if there is no file.
/// Throws IoError.
std::vector<nlohmann::ordered_json> lines_up_to(const std::filesystem::path& path, int64_t step);

/// Replaces the file by these lines. Throws IoError.
void write_lines(const std::filesystem::path& path,
                 const std::vector<nlohmann::ordered_json>& lines);

/// Appends the whole line or nothing: if the disk is full, a part already written is removed, and
/// IoError is thrown.
void append_line(const std::filesystem::path& path, const nlohmann::ordered_json& line);

/// Calls `write` and logs its IoError as a warning: a full disk must not end the training. Returns
/// whether it succeeded.
bool or_warn(const std::function<void()>& write);

}  // namespace ddpm::train
