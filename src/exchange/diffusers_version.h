#pragma once

namespace ddpm::exchange {

/// The version of diffusers whose format is written.
inline constexpr const char* kDiffusersVersion = "0.42.1";

}  // namespace ddpm::exchange
