#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace ddpm::report {

/// RFC 4648, Section 4, with padding.
std::string base64(std::span<const uint8_t> bytes);

}  // namespace ddpm::report
