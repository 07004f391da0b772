#pragma once

#include "ddpm/exchange/model.h"

#include <string>
#include <string_view>

namespace ddpm::exchange {

/// Parses a description, with or without [sample]. `name` is used in errors. Throws ConfigError.
void parse_model_text(std::string_view text, const std::string& name, Model& model);

}  // namespace ddpm::exchange
