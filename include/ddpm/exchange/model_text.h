#pragma once

#include "ddpm/exchange/model.h"

#include <string>
#include <string_view>

namespace ddpm::exchange {

/// The sections [image], [model] and [diffusion] of a model.toml, every key written out.
std::string description_text(const nn::ModelDescription& description);

/// The section [sample].
std::string sample_text(const sample::SampleConfig& sample);

/// A description, with or without a [sample] of its own, that was written as text. `name` stands
/// for it in errors. Throws ConfigError.
void parse_model_text(std::string_view text, const std::string& name, Model& model);

}  // namespace ddpm::exchange
