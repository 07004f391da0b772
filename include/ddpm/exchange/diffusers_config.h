#pragma once

#include "ddpm/diffusion/diffusion_config.h"
#include "ddpm/nn/unet.h"
#include "ddpm/sample/sample_config.h"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

// The JSON files of a diffusers folder: unet/config.json of a UNet2DModel and
// scheduler/scheduler_config.json of a DDPMScheduler, DDIMScheduler, a solver (DPMSolverMultistep,
// UniPCMultistep, DEISMultistep, EulerDiscrete, HeunDiscrete, PNDM), or FlowMatchEulerDiscrete and
// EDMEuler. Missing keys have the library's defaults.

namespace ddpm::exchange {

/// A scheduler_config.json converted to this program's settings.
struct SchedulerSettings {
  diffusion::DiffusionConfig diffusion;
  sample::SampleConfig sample;  ///< all but DDPMScheduler: 50 steps (the pipelines' default)
};

/// Throws IoError(path, ...), naming key and value, if the text is not such a config or needs a
/// feature that our network does not have.
nn::UNetConfig parse_unet_config(std::string_view json, const std::filesystem::path& path);
SchedulerSettings parse_scheduler_config(std::string_view json, const std::filesystem::path& path);

/// The class names, which unet_config_text writes under a separate key; empty if there are none.
std::vector<std::string> parse_class_names(std::string_view json);

/// The reverse: writes every key. Throws UsageError, naming our key, if diffusers does not support
/// the network.
std::string unet_config_text(const nn::UNetConfig& unet,
                             const std::vector<std::string>& class_names);
std::string scheduler_config_text(const SchedulerSettings& settings);
/// The text of model_index.json.
std::string pipeline_text(const SchedulerSettings& settings);

/// The settings of [sample] that a diffusers folder cannot represent; one text per setting.
std::vector<std::string> lost_settings(const SchedulerSettings& settings);

}  // namespace ddpm::exchange
