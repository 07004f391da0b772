#pragma once

namespace ddpm::exchange {

/// Of the library whose format is written.
inline constexpr const char* kDiffusersVersion = "0.42.1";

}  // namespace ddpm::exchange
