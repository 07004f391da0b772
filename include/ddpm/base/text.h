#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ddpm {

/// "12,345,678".
std::string with_commas(int64_t n);

/// "1 image", "25,600 images".
std::string counted(int64_t n, const std::string& noun);

/// The known name that a misspelt one is likely to mean; "" if none is near enough.
std::string nearest(std::string_view wrong, const std::vector<std::string>& known);

/// Columns that a UTF-8 text takes on a terminal, one per character.
int columns(std::string_view text);

/// `text` in lines of at most `width` columns, broken between words; a longer word stands alone.
/// Its own line breaks stay.
std::vector<std::string> wrapped(std::string_view text, int width);

}  // namespace ddpm
