#pragma once

#include "ddpm/dist/launch.h"

#include <cstdint>

namespace ddpm::dist {

/// CPU threads for this process: `configured` if it is not 0; else its share of the cores that the
/// machine and a container's CPU quota allow. 0: ATen's default, because OMP_NUM_THREADS is set or
/// because all cores are its own.
int64_t threads_of_rank(int64_t configured, const Launch& launch);

/// Sets the CPU threads for tensor work; 0: keeps ATen's default.
void set_threads(int64_t threads);

}  // namespace ddpm::dist
