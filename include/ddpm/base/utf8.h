#pragma once

#include <string>
#include <string_view>

// Names of files are bytes; JSON, TOML and the terminal want UTF-8.

namespace ddpm {

/// Well-formed UTF-8 (Unicode 15, Table 3-7): no overlong form, no surrogate, at most U+10FFFF.
bool is_utf8(std::string_view text);

/// The same text, in which each byte that is not part of UTF-8 reads \xE9: to show or to write it
/// where only UTF-8 may stand. UTF-8 stays as it is.
std::string as_utf8(std::string_view text);

}  // namespace ddpm
