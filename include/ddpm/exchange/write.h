#pragma once

#include "ddpm/exchange/model.h"

#include <array>
#include <filesystem>
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
  kDdpm,         ///< "ddpm": a checkpoint of this program, with one set of weights
};
/// The names on a command line.
constexpr auto names_of(Format) {
  return std::array{"diffusers", "safetensors", "torch", "torch-module", "ddpm"};
}

/// Writes a network completely or not at all. Throws UsageError if the format cannot express it,
/// and IoError if `destination` already exists or cannot be written.
void save(const Model& model, const std::filesystem::path& destination, Format format);

}  // namespace ddpm::exchange
