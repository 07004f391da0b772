#pragma once

#include "ddpm/exchange/model.h"
#include "ddpm/sample/sample_config.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace ddpm::pipeline {

/// The numbers of the classes that `key` (in messages: "--class", "classes") chooses of `count`
/// classes. `names`: theirs, or empty. Each text is a class name or a list with commas ("\," is a
/// comma in a name). An item is a name, a number, or "#K" for number K. If classes are named by
/// numbers, a bare number is a name. Throws UsageError.
std::vector<int64_t> chosen_classes(const std::vector<std::string>& texts,
                                    const std::vector<std::string>& names, int64_t count,
                                    const std::string& key);

/// The method "auto": the method and spacing that were measured to be best for the number of network
/// calls.
inline constexpr const char* kAutoMethod = "auto";

/// What "auto" takes for few calls where method bespoke cannot be fitted.
inline constexpr const char* kAutoWithoutFit = "unipc";

/// The methods' names and "auto".
std::vector<std::string> method_words();

/// Changes to another method, with the defaults of the settings that belong to a method.
void begin_with_(sample::SampleConfig& config, const std::string& method);

/// The settings of method "auto" for `calls` network calls, or config.steps of them: those of the
/// best cell of the newest sweep of the network's run (best_of_sweeps), else the documented defaults
/// (docs/sampling.md, "Which settings?").
void take_auto_(sample::SampleConfig& config, std::optional<int64_t> calls,
                const exchange::Model& network);

/// A cell of a finished `ddpm eval sweep`, as evidence for --method auto.
struct Evidence {
  sample::SampleConfig config;  ///< the cell's settings
  double distance = 0.0;        ///< Frechet
  std::filesystem::path file;   ///< sweep.json
};

/// The best cell of the newest sweep of the network's run that measured about so many network calls
/// (at most half as many again or two thirds) with this guidance. Nothing if there is none: a network
/// that is no checkpoint of a run, or no sweep in RUN/generated. A damaged file counts as none, with
/// a warning.
std::optional<Evidence> best_of_sweeps(const exchange::Model& network, int64_t calls,
                                       const diffusion::Guidance& guidance);

/// A line of sweep.json.
nlohmann::ordered_json evidence_json(const sample::SampleConfig& config, double distance,
                                     double error, double seconds_per_image);

}  // namespace ddpm::pipeline
