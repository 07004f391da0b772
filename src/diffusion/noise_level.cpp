#include "ddpm/diffusion/schedule.h"

#include <cmath>
#include <vector>

#include <torch/types.h>

namespace ddpm::diffusion {

double half_log_snr(const Schedule& schedule, int64_t t) {
  return 0.5 * (std::log(schedule.alpha_bar(t)) - std::log(schedule.one_minus_alpha_bar(t)));
}

double noise_level(const Schedule& schedule, int64_t t) {
  return std::sqrt(schedule.one_minus_alpha_bar(t) / schedule.alpha_bar(t));
}

torch::Tensor log_sigma_bounds(const Schedule& schedule) {
  const int64_t T = schedule.timesteps();
  std::vector<double> levels;
  for (int64_t t = 1; t <= T; ++t) levels.push_back(-half_log_snr(schedule, t));
  if (!has_signal_at_last(schedule)) {
    TORCH_CHECK(T >= 3, "needs two timesteps with signal");
    levels.back() = 2 * levels[levels.size() - 2] - levels[levels.size() - 3];
  }
  std::vector<double> bounds;
  for (size_t i = 1; i < levels.size(); ++i) bounds.push_back((levels[i - 1] + levels[i]) / 2);
  return torch::tensor(bounds, torch::kDouble);
}

bool has_signal_at_last(const Schedule& schedule) {
  return schedule.alpha_bar(schedule.timesteps()) > 0;
}

}  // namespace ddpm::diffusion
