#pragma once

#include "ddpm/exchange/diffusers_config.h"
#include "json_reader.h"

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

// The schedulers of diffusers that have a path and a parameterization of their own, and no betas:
// FlowMatchEulerDiscreteScheduler and EDMEulerScheduler. Both take Euler steps, which are DDIM's.

namespace ddpm::exchange {

/// Whether such a class is one of them.
bool is_path_scheduler(const std::string& class_name);
/// The class for such a schedule and prediction; "" if it is neither pair.
std::string path_scheduler(const diffusion::DiffusionConfig& diffusion);

/// Throws IoError for a setting that cannot be expressed. Does not read unknown keys.
SchedulerSettings read_path_scheduler(JsonReader& json, const std::string& class_name);
/// The keys of scheduler_config.json besides those that begin with "_".
nlohmann::ordered_json path_scheduler_keys(const diffusion::DiffusionConfig& diffusion);
/// What they do not hold; one text per setting.
std::vector<std::string> lost_by_path(const SchedulerSettings& settings);

/// Whether the class scales the network's input, and x_T by its init_noise_sigma.
bool path_scales_input(const std::string& class_name);

}  // namespace ddpm::exchange
