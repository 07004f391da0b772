#include "ddpm/sample/timestep_plan.h"

#include <algorithm>
#include <cmath>

#include <torch/types.h>

namespace ddpm::sample {
namespace {

/// i * n / d to the nearest integer, halves to even as numpy rounds.
int64_t rounded_fraction(int64_t i, int64_t n, int64_t d) {
  return static_cast<int64_t>(std::nearbyint(static_cast<double>(i * n) / static_cast<double>(d)));
}

std::vector<int64_t> quadratic_steps(int64_t timesteps, int64_t steps) {
  // The published code in its own arithmetic, np.linspace(0, sqrt(0.8 T), S) ** 2 cut to integers,
  // since exact arithmetic would cut differently where the square is a whole number.
  const double root = std::sqrt(static_cast<double>(timesteps) * 0.8);
  std::vector<int64_t> ascending;
  for (int64_t i = 0; i < steps; ++i) {
    const bool last = i == steps - 1;
    const double x = last ? root : static_cast<double>(i) * (root / static_cast<double>(steps - 1));
    const int64_t t = 1 + static_cast<int64_t>(x * x);
    // A repeated t moves up. That never passes T: the squares are convex in i, so the last t is the
    // larger of S and 1 + 0.8 T.
    ascending.push_back(ascending.empty() ? t : std::max(t, ascending.back() + 1));
  }
  return ascending;
}

std::vector<int64_t> openai_steps(int64_t timesteps, int64_t steps) {
  const double stride =
      steps == 1 ? 1.0 : static_cast<double>(timesteps - 1) / static_cast<double>(steps - 1);
  std::vector<int64_t> ascending;
  double x = 0.0;
  for (int64_t i = 0; i < steps; ++i) {
    ascending.push_back(1 + static_cast<int64_t>(std::nearbyint(x)));
    x += stride;
  }
  return ascending;
}

// The power with which the fitted steps of a network for CIFAR-10 come nearest to the exact solution,
// with 5 and with 10 of them (docs/sampling.md).
std::vector<int64_t> power_steps(int64_t timesteps, int64_t steps) {
  constexpr double kPower = 1.3;
  std::vector<int64_t> ascending;
  for (int64_t i = 0; i < steps; ++i) {
    const int64_t t = std::lround(power_time(timesteps, i + 1, steps, kPower));
    // A repeated t moves up, never past T: t is convex in i, and S is at most T.
    ascending.push_back(std::max(t, ascending.empty() ? 1 : ascending.back() + 1));
  }
  return ascending;
}

std::vector<int64_t> ascending_steps(int64_t timesteps, int64_t steps, Spacing spacing) {
  if (spacing == Spacing::kQuadratic) {
    return quadratic_steps(timesteps, steps);
  }
  if (spacing == Spacing::kOpenai) return openai_steps(timesteps, steps);
  if (spacing == Spacing::kPower) return power_steps(timesteps, steps);
  std::vector<int64_t> ascending;
  for (int64_t i = 0; i < steps; ++i) {
    switch (spacing) {
      case Spacing::kLeading:
        ascending.push_back(1 + i * timesteps / steps);
        break;
      case Spacing::kTrailing:  // i counts from the small end here: T - (S-1-i) T/S = (i+1) T/S
        ascending.push_back(rounded_fraction(i + 1, timesteps, steps));
        break;
      case Spacing::kLinspace:
        ascending.push_back(steps == 1 ? timesteps
                                       : 1 + rounded_fraction(i, timesteps - 1, steps - 1));
        break;
      case Spacing::kQuadratic:
      case Spacing::kOpenai:
      case Spacing::kLogSnr:
      case Spacing::kKarras:
      case Spacing::kOptimal:
      case Spacing::kPower:
        TORCH_CHECK(false, "spacing ", config::to_string(spacing), " needs more than T");
    }
  }
  return ascending;
}

}  // namespace

std::vector<PlanStep> timestep_plan(int64_t timesteps, int64_t steps, Spacing spacing) {
  TORCH_CHECK(1 <= steps && steps <= timesteps, "cannot take ", steps, " of ", timesteps,
              " timesteps");
  return jumps_of(ascending_steps(timesteps, steps, spacing));
}

double power_time(int64_t timesteps, int64_t k, int64_t steps, double exponent) {
  const double share = static_cast<double>(k) / static_cast<double>(steps);
  return static_cast<double>(timesteps) * std::pow(share, exponent);
}

std::vector<PlanStep> jumps_of(const std::vector<int64_t>& ascending) {
  std::vector<PlanStep> plan;
  int64_t s = 0;
  for (const int64_t t : ascending) {
    TORCH_CHECK(s < t, "timestep ", t, " does not follow ", s);
    plan.push_back({t, s});
    s = t;
  }
  std::reverse(plan.begin(), plan.end());
  return plan;
}

}  // namespace ddpm::sample
