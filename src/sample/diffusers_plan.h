#pragma once

#include "ddpm/sample/timestep_plan.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ddpm::sample {

/// Where a jump of DDPMScheduler or DDIMScheduler lands.
enum class Landing {
  kNext,    ///< at the next t; the last at 0
  kStride,  ///< DDIMScheduler: floor(T / S) lower, wherever the next step begins; 0 if that is
            ///< below
};

/// What distinguishes the timesteps of one scheduler from another's.
struct Layout {
  Landing landing = Landing::kNext;
  bool one_more = false;  ///< leading and linspace place S + 1 steps and leave out the lowest one
};

/// The layout of the scheduler that has this method: DDIMScheduler lands by strides;
/// DPMSolverMultistep, UniPCMultistep and DEISMultistep place one more.
Layout layout_of(const std::string& method);

/// The jumps of diffusers' schedulers (0.42, set_timesteps and step), counted from 1. With
/// i = 0..S-1 in ascending order and numpy's float64 arithmetic:
///   leading:  t = 1 + i floor(T / S) + offset, so that the upper T - S floor(T / S) are left out
///   trailing: t = round(T - i T / S)
///   linspace: t = 1 + round(i (T - 1) / (S - 1)); S = 1 gives t = 1
/// Two things that diffusers does are not followed. An offset beyond T, which is an IndexError
/// there, is cut to what fits. For some S (61 at T = 1000) numpy's arange has one entry too many,
/// and trailing there calls the network once more at t = 0. With one_more and S = T, which
/// repeats steps there, all T are taken. c10::Error for another spacing.
std::vector<PlanStep> diffusers_plan(int64_t timesteps, int64_t steps, Spacing spacing,
                                     int64_t offset, const Layout& layout);

}  // namespace ddpm::sample
