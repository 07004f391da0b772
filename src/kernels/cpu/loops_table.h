#pragma once

#include "group_norm_loops.h"
#include "winograd_loops.h"

// The loops as compiled for the file that includes this, one of loops_*.cpp.

namespace ddpm::kernels {
namespace {

constexpr CpuLoops kLoops{group_norm_loops<float, float>(), group_norm_loops<Bf16, float>(),
                          group_norm_loops<double, double>(), winograd_loops()};

}  // namespace
}  // namespace ddpm::kernels
