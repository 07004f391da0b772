#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace ddpm::report {

/// The lines of a file of one JSON object per line that have a whole number "step", in the order of
/// steps. Of two lines that overlap after a restart, the later one counts. Adds a warning, which
/// begins with `name`, if lines are damaged.
std::vector<nlohmann::ordered_json> steps_of_lines(std::string_view text, const std::string& name,
                                                   std::vector<std::string>& warnings);
/// The same of a file; none if it does not exist. Throws IoError.
std::vector<nlohmann::ordered_json> steps_of_file(const std::filesystem::path& file,
                                                  const std::string& name,
                                                  std::vector<std::string>& warnings);

/// Most rows of a metrics table; more would only make the page slow.
inline constexpr int64_t kMaxRows = 2000;

/// Lines as columns: {"step": [...], "loss": [...], ...}; what is no number is null. More than
/// `max_rows` lines are put together in groups of equal size: the last step, images and seconds, the
/// sum of skipped, the largest memory_mib, the mean of the rest.
nlohmann::ordered_json metrics_table(const std::vector<nlohmann::ordered_json>& lines,
                                     int64_t max_rows = kMaxRows);

}  // namespace ddpm::report
