#pragma once

#include "ddpm/exchange/diffusers_config.h"
#include "ddpm/exchange/model.h"

#include <filesystem>

namespace ddpm::exchange {

/// A folder with unet/config.json or unet_ema/config.json, or config.json itself as the files of
/// 2022 have it.
bool is_diffusers_folder(const std::filesystem::path& folder);

/// Reads UNet2DModel and scheduler; weights from .safetensors or .bin, in one file or several, with
/// the attention's old names (query, key, value, proj_attn) or new ones, or a variant (fp16). Of a
/// folder of training, unet_ema/ for the `weights` ema or "". Throws IoError, UsageError.
Model read_diffusers_folder(const std::filesystem::path& folder, const std::string& weights,
                            const Hints& hints);

/// The scheduler of a folder with a UNet. If it has none: diffusers' defaults with the hints
/// timesteps, schedule and prediction; without a hint, it warns. Throws UsageError for a hint if
/// there is a scheduler.
SchedulerSettings find_scheduler(const std::filesystem::path& folder, const Hints& hints);

/// Writes model_index.json, unet/ and scheduler/, and sample.py if it is needed, into an empty
/// folder, every file synced. Throws UsageError if diffusers has no such network, and IoError.
void write_diffusers_folder(const Model& model, const std::filesystem::path& folder);

/// The attention's names of 2022, in today's.
std::vector<io::NamedTensor> renamed_attention(std::vector<io::NamedTensor> weights);

}  // namespace ddpm::exchange
