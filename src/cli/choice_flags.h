#pragma once

#include "ddpm/train/choose_settings.h"

#include <string>

namespace CLI {
class App;
}

// The flags of choosing settings for pictures: ddpm init, and ddpm train PICTURES.

namespace ddpm::cli {

/// --minutes and --size.
void add_choice_flags(CLI::App& command, train::ChoiceRequest& request);

/// Throws UsageError unless a command line with PICTURES or --config can be followed: exactly one of
/// them, and --minutes and --size only with PICTURES.
void expect_one_source(const train::ChoiceRequest& request, const std::string& config);

}  // namespace ddpm::cli
