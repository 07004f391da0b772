// The example of docs/extending.md, "A schedule": log SNR falls linearly with t.

#include "ddpm/diffusion/schedule.h"

#include <cmath>

#include <gtest/gtest.h>

namespace ddpm::extending {
namespace {

constexpr double kFirstLogSnr = 13.3;
constexpr double kLastLogSnr = -5.0;

double log_snr_at(int64_t t, int64_t timesteps) {
  const double u = static_cast<double>(t - 1) / static_cast<double>(timesteps - 1);
  return kFirstLogSnr + u * (kLastLogSnr - kFirstLogSnr);
}

/// beta_t of the schedule whose log SNR falls linearly from 13.3 at t = 1 to -5 at t = T (Kingma
/// 2021, "Variational Diffusion Models"). T is at least 2.
double log_snr_beta(int64_t t, int64_t timesteps) {
  // 1 - alpha_bar = 1 / (1 + SNR). beta_t = (alpha_bar_{t-1} - alpha_bar_t) / alpha_bar_{t-1},
  // written with 1 - alpha_bar: no digits are lost if alpha_bar is near 1.
  const auto noise = [&](int64_t at) {
    return at == 0 ? 0.0 : 1 / (1 + std::exp(log_snr_at(at, timesteps)));
  };
  return (noise(t) - noise(t - 1)) / (1 - noise(t - 1));
}

TEST(ScheduleExample, LogSnrFallsLinearly) {
  for (const int64_t timesteps : {2, 10, 1000}) {
    diffusion::ScheduleConfig config;
    config.kind = diffusion::ScheduleKind::kTable;
    config.timesteps = timesteps;
    for (int64_t t = 1; t <= timesteps; ++t) config.betas.push_back(log_snr_beta(t, timesteps));
    const diffusion::Schedule schedule(config);
    // Rounding: about T additions of 1e-16 each.
    for (int64_t t = 1; t <= timesteps; ++t)
      EXPECT_NEAR(std::log(schedule.snr(t)), log_snr_at(t, timesteps), 1e-11) << t;
  }
}

}  // namespace
}  // namespace ddpm::extending
