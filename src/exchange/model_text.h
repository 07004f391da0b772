#pragma once

#include "ddpm/exchange/model.h"

#include <string>
#include <string_view>

namespace ddpm::exchange {

/// A description, with or without a [sample] of its own, that was written as text. `name` stands
/// for it in errors. Throws ConfigError.
void parse_model_text(std::string_view text, const std::string& name, Model& model);

}  // namespace ddpm::exchange
