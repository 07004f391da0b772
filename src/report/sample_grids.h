#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace ddpm::report {

/// The grids of RUN/samples/step-NNNNNNNNN-WEIGHTS.png: an array of {step, pictures: [{weights,
/// src}]}, by step, raw weights first; src: a data URI. At most `max_steps` steps, evenly chosen with
/// the last, and about `max_bytes` of files. Adds a warning if some are left out.
nlohmann::ordered_json sample_grids(const std::filesystem::path& run, size_t max_steps,
                                    uint64_t max_bytes, std::vector<std::string>& warnings);

}  // namespace ddpm::report
