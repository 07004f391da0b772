#include "diffusers_plan.h"

#include "ddpm/sample/sample_config.h"

#include <algorithm>
#include <cmath>

#include <torch/types.h>

namespace ddpm::sample {
namespace {

// Highest first. numpy's arange and linspace in their own order of operations: halves decide.
std::vector<int64_t> descending_steps(int64_t timesteps, int64_t steps, Spacing spacing,
                                      int64_t offset) {
  const auto total = static_cast<double>(timesteps), count = static_cast<double>(steps);
  const double stride = (total - total / count) - total;  // arange(T, 0, -T / S)
  const double step = steps == 1 ? 0.0 : (total - 1) / (count - 1);
  std::vector<int64_t> descending;
  for (int64_t k = 0; k < steps; ++k) {
    const int64_t i = steps - 1 - k;
    switch (spacing) {
      case Spacing::kLeading:  // the k-th t can be no more than T - k
        descending.push_back(std::min(1 + i * (timesteps / steps) + offset, timesteps - k));
        break;
      case Spacing::kTrailing:
        descending.push_back(
            static_cast<int64_t>(std::nearbyint(total + static_cast<double>(k) * stride)));
        break;
      case Spacing::kLinspace:
        descending.push_back(k == 0 && steps > 1 ? timesteps
                                                 : 1 + static_cast<int64_t>(std::nearbyint(
                                                           static_cast<double>(i) * step)));
        break;
      default:
        TORCH_CHECK(false, "diffusers has no spacing ", config::to_string(spacing));
    }
  }
  return descending;
}

}  // namespace

Layout layout_of(const std::string& method) {
  if (method == kDdim) return {.landing = Landing::kStride};
  return {.one_more = method.starts_with("dpmpp_") || method == "unipc" || method == "deis"};
}

std::vector<PlanStep> diffusers_plan(int64_t timesteps, int64_t steps, Spacing spacing,
                                     int64_t offset, const Layout& layout) {
  TORCH_CHECK(1 <= steps && steps <= timesteps, "cannot take ", steps, " of ", timesteps,
              " timesteps");
  const bool one_more = layout.one_more && spacing != Spacing::kTrailing && steps < timesteps;
  std::vector<int64_t> t = descending_steps(timesteps, steps + (one_more ? 1 : 0), spacing, offset);
  if (one_more) t.pop_back();
  std::vector<PlanStep> plan;
  for (size_t k = 0; k < t.size(); ++k) {
    const int64_t next = k + 1 < t.size() ? t[k + 1] : 0;
    const int64_t strided = std::max(t[k] - timesteps / steps, int64_t{0});
    plan.push_back({t[k], layout.landing == Landing::kNext ? next : strided});
  }
  return plan;
}

}  // namespace ddpm::sample
