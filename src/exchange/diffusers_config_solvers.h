#pragma once

#include "ddpm/diffusion/diffusion_config.h"
#include "ddpm/sample/sample_config.h"
#include "json_reader.h"

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

// The schedulers of diffusers beside DDPMScheduler and DDIMScheduler: DPMSolverMultistep,
// UniPCMultistep, DEISMultistep, EulerDiscrete, HeunDiscrete and PNDM.

namespace ddpm::exchange {

/// Whether such a class is one of them.
bool is_solver_scheduler(const std::string& class_name);

/// The values that a class has where a key of its schedule is missing.
struct BetaRange {
  double start = 1e-4, end = 0.02;
};
BetaRange default_betas(const std::string& class_name);

/// [sample] of such a scheduler: as many network calls as 50 inference steps make. Throws IoError
/// for a setting that our solvers do not have.
sample::SampleConfig read_solver(JsonReader& json, const std::string& class_name,
                                 int64_t timesteps);

/// Whether the class has dynamic thresholding, and rescale_betas_zero_snr.
bool can_threshold(const std::string& class_name);
bool can_rescale(const std::string& class_name);

/// Whether the class samples correctly from a network of that prediction.
bool predicts(const std::string& class_name, diffusion::Prediction prediction);

/// The class that a config is written as; DDIMScheduler for a method that diffusers lacks, and
/// DPMSolverMultistepScheduler of order 2 for dpmpp_3m_sde, whose weights it has wrong.
std::string scheduler_class(const sample::SampleConfig& sample,
                            const diffusion::DiffusionConfig& diffusion);

/// The spacing that the keys of such a class hold: the nearest one.
sample::Spacing written_spacing(const std::string& class_name, sample::Spacing spacing);

/// Sets the keys of a solver's class and erases those that it does not have.
void set_solver_keys_(nlohmann::ordered_json& json, const sample::SampleConfig& sample);

/// What those keys do not hold; one text per setting.
std::vector<std::string> lost_by_solver(const sample::SampleConfig& sample);

/// Why DDPMPipeline cannot run the class; empty if it can.
std::string solver_obstacle(const std::string& class_name);

/// Whether the class has a state of another scale than x_t: x_T and the network's input are scaled.
bool scales_input(const std::string& class_name);

}  // namespace ddpm::exchange
