#pragma once

#include "ddpm/config/document.h"

#include <algorithm>
#include <string>
#include <vector>

namespace ddpm::config {

/// The enum value whose name is written at `key`; `names` are those of the values 0, 1, ... in
/// order. Throws ConfigError where the name is none of them.
template <class Enum>
Enum read_enum(Reader& reader, const std::string& key, Enum fallback,
               const std::vector<std::string>& names) {
  const std::string name = reader.choice(key, names.at(static_cast<size_t>(fallback)), names);
  return static_cast<Enum>(std::find(names.begin(), names.end(), name) - names.begin());
}

}  // namespace ddpm::config
