#pragma once

#include "ddpm/exchange/model.h"
#include "ddpm/sample/sample_config.h"

#include <filesystem>
#include <optional>

#include <nlohmann/json_fwd.hpp>

namespace ddpm::pipeline {

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
