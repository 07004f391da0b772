#include "ddpm/diffusion/noise_level.h"

#include <cmath>

namespace ddpm::diffusion {

double half_log_snr(const Schedule& schedule, int64_t t) {
  return 0.5 * (std::log(schedule.alpha_bar(t)) - std::log(schedule.one_minus_alpha_bar(t)));
}

double noise_level(const Schedule& schedule, int64_t t) {
  return std::sqrt(schedule.one_minus_alpha_bar(t) / schedule.alpha_bar(t));
}

bool has_signal_at_last(const Schedule& schedule) {
  return schedule.alpha_bar(schedule.timesteps()) > 0;
}

}  // namespace ddpm::diffusion
