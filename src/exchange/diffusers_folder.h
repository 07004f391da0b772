#pragma once

#include "ddpm/exchange/diffusers_config.h"
#include "ddpm/exchange/model.h"
#include "ddpm/exchange/write.h"

#include <filesystem>

namespace ddpm::exchange {

/// Whether the folder contains unet/config.json, unet_ema/config.json, or, as in 2022, config.json.
bool is_diffusers_folder(const std::filesystem::path& folder);

/// Reads UNet2DModel and scheduler. The weights are .safetensors or .bin, in one file or several,
/// possibly a variant (fp16). Attention may have the old names (query, key, value, proj_attn) or
/// the new ones. If the folder has unet_ema/, `weights` ema or "" selects it. Throws IoError,
/// UsageError.
Model read_diffusers_folder(const std::filesystem::path& folder, const std::string& weights,
                            const Hints& hints);

/// The scheduler of a folder with a UNet. If it has none: diffusers' defaults, changed by the hints
/// timesteps, schedule and prediction; warns if there is no hint. Throws UsageError for a hint if
/// there is a scheduler.
SchedulerSettings find_scheduler(const std::filesystem::path& folder, const Hints& hints);

/// Writes model_index.json, unet/, scheduler/, README.md and, if needed, sample.py to an empty
/// folder. Syncs every file. Throws UsageError if diffusers does not support the network, and
/// IoError.
void write_diffusers_folder(const Model& model, const std::filesystem::path& folder,
                            const CardFacts& card);

/// Renames attention layers from the names of 2022 to today's.
std::vector<io::NamedTensor> renamed_attention(std::vector<io::NamedTensor> weights);

}  // namespace ddpm::exchange
