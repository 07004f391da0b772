#pragma once

#include "ddpm/exchange/model.h"

#include <array>
#include <filesystem>
#include <string>
#include <vector>

// Writes networks for this and other programs. A diffusers folder has a README.md: a model card as
// huggingface.co shows it.

namespace ddpm::exchange {

/// What a card says beside the network's own description.
struct CardFacts {
  std::string name = {};  ///< of the model; any bytes
  /// Results as ddpm eval prints them, for people; "" without any.
  std::string evaluation = {};
  /// A picture of samples to copy to the folder as samples.png; empty: none.
  std::filesystem::path grid = {};
};

/// The text of the card: YAML front matter, then Markdown. Reads the training's summary of a
/// checkpoint of this program. Names are escaped in both languages. The license is left to the
/// user. Throws IoError.
std::string model_card(const Model& model, const CardFacts& facts);

/// Text that Markdown shows as it is, on one line.
std::string markdown_text(const std::string& text);

/// Why diffusers' pipelines cannot sample from the model's diffusers folder; "" if they can. If
/// they cannot, the folder contains a sample.py.
std::string pipeline_obstacle(const Model& model);
/// The text of sample.py, which samples images of the model in Python.
std::string sampling_script(const Model& model);

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
