#pragma once

#include "choose_settings.h"
#include "ddpm/config/document.h"

#include <filesystem>
#include <string>
#include <vector>

// The config of `ddpm train PICTURES`.

namespace ddpm::cli {

/// Throws UsageError unless a command line with PICTURES or --config can be followed: exactly one of
/// them, and --minutes and --size only with PICTURES.
void expect_one_source(const ChoiceFlags& flags, const std::string& config);

/// The config of a training on pictures in `run`. An existing run's own config, if it was trained on
/// these pictures; else chosen settings, which are written to init.toml in the run's folder if
/// `writes`. --set is not applied, but holds while measuring. Throws UsageError if the run has other
/// pictures, or if a new run is started as several processes (`single` is false).
config::Document config_for_pictures(const ChoiceFlags& flags, const std::filesystem::path& run,
                                     const std::vector<std::string>& overrides, bool single,
                                     bool writes);

}  // namespace ddpm::cli
