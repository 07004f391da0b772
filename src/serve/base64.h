#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace ddpm::serve {

/// The bytes of a base64 text with its padding (RFC 4648, Section 4), without line breaks. None if it
/// is not one.
std::optional<std::vector<uint8_t>> from_base64(std::string_view text);

}  // namespace ddpm::serve
