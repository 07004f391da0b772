#pragma once

#include "ddpm/exchange/model.h"
#include "ddpm/exchange/model_card.h"

#include <array>
#include <filesystem>
#include <string>
#include <vector>

namespace ddpm::exchange {

/// The metadata key of a safetensors file that holds model.toml and [sample].
constexpr const char* kDescriptionKey = "ddpm";

enum class Format {
  kDiffusers,    ///< "diffusers": a folder for from_pretrained of DDPMPipeline or DDIMPipeline
  kSafetensors,  ///< "safetensors": one file that contains the description
  kTorch,        ///< "torch": a state dict for torch.load(path, weights_only=True)
  kTorchModule,  ///< "torch-module": an archive for torch::load(nn::UNet&, path) of LibTorch
  kDdpm,         ///< "ddpm": a checkpoint of this program, with one set of weights
};
/// The formats' names on the command line.
constexpr auto names_of(Format) {
  return std::array{"diffusers", "safetensors", "torch", "torch-module", "ddpm"};
}

/// Writes a network, completely or not at all. Throws UsageError if the format does not support it,
/// and IoError if `destination` already exists or cannot be written. `card`: for the README.md of a
/// diffusers folder; a card without a name is named after the destination.
void save(const Model& model, const std::filesystem::path& destination, Format format,
          const CardFacts& card = {});

}  // namespace ddpm::exchange
