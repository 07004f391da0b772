#pragma once

#include "ddpm/base/rng.h"

namespace ddpm {

/// Random numbers of tests: a stream that no part of the program uses.
inline constexpr Purpose kTestPurpose{1000};

}  // namespace ddpm
