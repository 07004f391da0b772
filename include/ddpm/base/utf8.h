#pragma once

#include <string>
#include <string_view>

// File names are bytes; JSON, TOML and terminals need UTF-8.

namespace ddpm {

/// Whether `text` is well-formed UTF-8 (Unicode 15, Table 3-7): no overlong forms, no surrogates,
/// at most U+10FFFF.
bool is_utf8(std::string_view text);

/// The text with each byte that is not part of valid UTF-8 written as \xE9. Valid UTF-8 is
/// unchanged.
std::string as_utf8(std::string_view text);

}  // namespace ddpm
