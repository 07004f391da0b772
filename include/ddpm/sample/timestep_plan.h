#pragma once

#include "ddpm/config/names.h"

#include <array>
#include <cstdint>
#include <vector>

namespace ddpm::sample {

/// Which S of the T timesteps a sampler visits. With i = 0..S-1:
enum class Spacing {
  /// t = 1 + floor(i T / S). If S divides T these are the steps of DDIM's "uniform" skip and of
  /// diffusers' "leading". Ends at t = 1 and never starts at T unless S = T.
  kLeading,
  /// t = round(T - i T / S), halves to even: diffusers' "trailing". Starts at T.
  kTrailing,
  /// t = 1 + round(i (T - 1) / (S - 1)), halves to even: diffusers' "linspace". Holds 1 and T. S = 1
  /// gives t = T (where numpy's linspace would give the other end, t = 1, of no use for sampling).
  kLinspace,
  /// t = 1 + floor(0.8 T (i / (S - 1))^2): DDIM's "quad" skip, dense at small t. That formula
  /// repeats small t once S is large; a repeated t is moved up to the next free one, so S distinct
  /// steps always come out. S = 1 gives the formula's upper end.
  kQuadratic,
  /// t = 1 + round(x_i), halves to even, with x_0 = 0 and x_i = x_{i-1} + (T - 1) / (S - 1) summed
  /// up in floating point: the respacing of OpenAI's improved- and guided-diffusion. Evenly spaced
  /// from both ends as linspace, but for the rounding. S = 1 gives t = 1, as there.
  kOpenai,
  /// Evenly spaced in lambda = log(sqrt(alpha_bar) / sqrt(1 - alpha_bar)) between t = 1 and T
  /// (DPM-Solver's "logSNR"), each at the nearest t; a repeated t moves up to the next free one.
  kLogSnr,
  /// The same in sigma^(1/7), sigma = sqrt((1 - alpha_bar) / alpha_bar) (Karras 2022, Eq. 5).
  kKarras,
  /// Those that lose the least of the bound on the likelihood with the optimal variance (Bao 2022,
  /// Sec. 4; Watson 2021). Needs SampleConfig::posterior_variance.
  kOptimal,
  /// t = round(T ((i + 1) / S)^1.3): trailing with smaller steps near the image, where details
  /// appear. Starts at T; a repeated t moves up to the next free one. For few steps.
  kPower,
};

/// The names in a config.
constexpr auto names_of(Spacing) {
  return std::array{"leading", "trailing", "linspace", "quadratic", "openai",
                    "logsnr",  "karras",   "optimal",  "power"};
}

/// Whose definition of leading, trailing and linspace is used.
enum class Stepping {
  /// Spacing's formulas. A step lands at the t where the next one begins, the last at 0.
  kOwn,
  /// What diffusers' DDPMScheduler and DDIMScheduler do, for every S (diffusers_plan.h).
  kDiffusers,
};
constexpr auto names_of(Stepping) { return std::array{"own", "diffusers"}; }

/// One jump of a sampler: from x_t to x_s, s < t. s = 0 is the finished image.
struct PlanStep {
  int64_t t;
  int64_t s;
  bool operator==(const PlanStep&) const = default;
};

/// Exactly `steps` jumps with t strictly decreasing in 1..timesteps, each starting where the one
/// before it ended; the last ends at 0. If steps = timesteps, all of 1..timesteps, with
/// any spacing. c10::Error unless 1 <= steps <= timesteps. kLogSnr, kKarras and kOptimal need a SampleConfig.
std::vector<PlanStep> timestep_plan(int64_t timesteps, int64_t steps, Spacing spacing);
/// The jumps of a list of timesteps, ascending in 1..T. c10::Error if it is not strictly ascending.
std::vector<PlanStep> jumps_of(const std::vector<int64_t>& ascending);

/// T (k / S)^exponent, k = 1..S: the timesteps of kPower before rounding.
double power_time(int64_t timesteps, int64_t k, int64_t steps, double exponent);

}  // namespace ddpm::sample
