#pragma once

#include "ddpm/train/suggest.h"

#include <string>
#include <vector>

namespace ddpm::train {

/// The suggestion as a config with comments: its reasons, and why a key is as in the presets.
/// `notes`: lines of the comment at its beginning.
std::string to_toml(const Suggestion& suggestion, const std::vector<std::string>& notes);

}  // namespace ddpm::train
