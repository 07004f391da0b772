#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace ddpm::report {

/// A run as the page's script reads it: {name, metrics, quality, sweeps, samples, schedule, config,
/// former, data, events}; what the run lacks is empty or null. Adds a warning for each file that
/// cannot be read. Throws IoError if the folder does not exist or holds no run. `runs`: how many the
/// page shows, which share the room for pictures.
nlohmann::ordered_json read_run(const std::filesystem::path& run, size_t runs,
                                std::vector<std::string>& warnings);

}  // namespace ddpm::report
