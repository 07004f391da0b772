#pragma once

#include "ddpm/sample/sample_config.h"

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace ddpm::sample {

/// The keys of [sample] that decide how an image looks: all but num and batch.
nlohmann::ordered_json image_settings(const SampleConfig& config);

/// "ddpm-1000", "ddim-50-eta-0.5", "ddpm-50-large-trailing", ...: method, steps, and every other
/// such setting that is not the default. For folder names.
std::string short_name(const SampleConfig& config);

}  // namespace ddpm::sample
