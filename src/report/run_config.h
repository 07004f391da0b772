#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace ddpm::report {

/// The settings of a config.toml that the program wrote: {"section.key", value as TOML}, in the order
/// of the file.
std::vector<std::pair<std::string, std::string>> settings_of(std::string_view toml);

/// The run's config and how it came about: {"config": [[key, value], ...], "former": [{file, changes:
/// [[key, was, is], ...]}, ...]}, with a former config (config-until-step-N.toml) for each change.
nlohmann::ordered_json run_config(const std::filesystem::path& run,
                                  std::vector<std::string>& warnings);

}  // namespace ddpm::report
