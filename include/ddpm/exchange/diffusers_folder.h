#pragma once

#include "ddpm/exchange/model.h"

#include <filesystem>

namespace ddpm::exchange {

/// A folder with unet/config.json, or config.json itself as the files of 2022 have it.
bool is_diffusers_folder(const std::filesystem::path& folder);

/// Reads UNet2DModel and scheduler; weights from .safetensors or .bin, in one file or several, with
/// the attention's old names (query, key, value, proj_attn) or new ones. Without a scheduler its
/// defaults are taken. Throws IoError.
Model read_diffusers_folder(const std::filesystem::path& folder);

/// Writes model_index.json, unet/ and scheduler/ into an empty folder, every file synced. Throws
/// UsageError where diffusers has no such network, IoError.
void write_diffusers_folder(const Model& model, const std::filesystem::path& folder);

/// The attention's names of 2022, in today's.
std::vector<io::NamedTensor> renamed_attention(std::vector<io::NamedTensor> weights);

}  // namespace ddpm::exchange
