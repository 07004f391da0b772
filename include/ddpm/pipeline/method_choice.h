#pragma once

#include "ddpm/exchange/model.h"
#include "ddpm/sample/sample_config.h"

#include <cstdint>
#include <optional>
#include <string>

namespace ddpm::pipeline {

/// The method "auto": the method and spacing that were measured to be best for the number of network
/// calls.
inline constexpr const char* kAutoMethod = "auto";

/// What "auto" takes for few calls where method bespoke cannot be fitted.
inline constexpr const char* kAutoWithoutFit = "unipc";

/// Changes to another method, with the defaults of the settings that belong to a method.
void begin_with_(sample::SampleConfig& config, const std::string& method);

/// The settings of method "auto" for `calls` network calls, or config.steps of them: those of the
/// best cell of the newest sweep of the network's run (best_of_sweeps), else the documented defaults
/// (docs/sampling.md, "Which settings?").
void take_auto_(sample::SampleConfig& config, std::optional<int64_t> calls,
                const exchange::Model& network);

}  // namespace ddpm::pipeline
