#pragma once

#include "ddpm/exchange/model.h"

#include <filesystem>
#include <string>

// README.md of a diffusers folder: a model card as huggingface.co shows it.

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

}  // namespace ddpm::exchange
