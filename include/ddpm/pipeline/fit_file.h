#pragma once

#include "ddpm/dist/world.h"
#include "ddpm/exchange/model.h"
#include "ddpm/pipeline/sample_plan.h"
#include "ddpm/sample/sample_config.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include <nlohmann/json.hpp>

namespace ddpm::pipeline {

/// What a fit of method "bespoke" belongs to: these weights with these settings. A caller adds what
/// else guides the network.
nlohmann::ordered_json fit_key(const sample::SampleConfig& config, uint32_t weights_crc32c);

/// Where it is kept: RUN/estimates/... for a checkpoint of a run, else estimates/... here.
std::filesystem::path fit_file(const exchange::Model& network, const nlohmann::ordered_json& key);

/// The fitted steps of that key; empty if the file does not exist. A damaged file counts as none,
/// with a warning.
std::vector<sample::BespokeStep> read_fit(const std::filesystem::path& file,
                                          const nlohmann::ordered_json& key);

/// Keeps them. If that is not possible, a warning says that they will be fitted again.
void keep_fit(const std::filesystem::path& file, const nlohmann::ordered_json& key,
              const std::vector<sample::BespokeStep>& steps);

/// The file of the plan's fit.
std::filesystem::path fit_file(const SamplePlan& plan);

/// The fitted steps of that file, or else those that `fit` makes, which are then kept. It is given the
/// plan with all classes and the vectors that the network keeps, whichever the plan has.
std::vector<sample::BespokeStep> kept_fit(
    const SamplePlan& plan,
    const std::function<std::vector<sample::BespokeStep>(const SamplePlan& of_all)>& fit);

/// Gives a plan with method bespoke its weights: from that file, or fitted now and kept there.
/// Collective. Returns whether the plan changed.
bool settle_fit_(SamplePlan& plan, const dist::World& world);

/// Where the variances of sigma = analytic and spacing = optimal are kept (`ddpm estimate`):
/// RUN/estimates/... for a checkpoint of a run, else estimates/... here; another one for other
/// weights.
std::filesystem::path estimates_file(const SamplePlan& plan);

/// Gives a plan with sigma = analytic or spacing = optimal the variances of that file. Returns whether
/// the plan changed: false if it needs none, or the file does not exist. Throws IoError if it is
/// damaged.
bool read_variances_(SamplePlan& plan);

}  // namespace ddpm::pipeline
