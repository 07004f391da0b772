#pragma once

#include "ddpm/exchange/model.h"

#include <array>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace ddpm::exchange {

/// The key of a safetensors file's metadata that holds its model.toml, and [sample].
constexpr const char* kDescriptionKey = "ddpm";

enum class Format {
  kDiffusers,    ///< "diffusers": a folder for DDPMPipeline.from_pretrained, DDIMPipeline's too
  kSafetensors,  ///< "safetensors": one file, with its description inside
  kTorch,        ///< "torch": a state dict for torch.load(path, weights_only=True)
  kTorchModule,  ///< "torch-module": an archive for torch::load(nn::UNet&, path) of LibTorch
};
/// The names on a command line.
constexpr auto names_of(Format) {
  return std::array{"diffusers", "safetensors", "torch", "torch-module"};
}

/// Writes a network, whole or not at all. Throws UsageError where the format cannot hold it, and
/// IoError where `destination` is there already or cannot be written.
void write_model(const Model& model, const std::filesystem::path& destination, Format format);

/// Makes a folder as one step: `fill` writes into a folder beside it, which is renamed when all of
/// it is on the disk, or removed. Throws IoError where `destination` is there already.
void write_folder_atomic(const std::filesystem::path& destination,
                         const std::function<void(const std::filesystem::path&)>& fill);

}  // namespace ddpm::exchange
