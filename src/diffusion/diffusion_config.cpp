#include "ddpm/diffusion/diffusion_config.h"

#include <algorithm>

#include <fmt/format.h>

namespace ddpm::diffusion {
namespace {

// x0_hat divides by sqrt(alpha_bar_T): 1e-30 still leaves float32 (down to 1e-38) room for rounding
// errors.
constexpr double kMinAlphaBar = 1e-60;

// One beta per step, all except the last below 1.
void check_betas(const std::vector<double>& betas, int64_t timesteps,
                 const config::Reader& reader) {
  if (std::ssize(betas) != timesteps) {
    reader.fail("betas", fmt::format("has {} entries; must have one for each of the {} timesteps",
                                     betas.size(), timesteps));
  }
  const auto one = std::find(betas.begin(), betas.end(), 1.0);
  if (one < betas.end() - 1) {
    reader.fail("betas",
                fmt::format("is 1 at t = {}; only the last may be 1", one - betas.begin() + 1));
  }
}

void check(const DiffusionConfig& whole, const config::Reader& reader) {
  const ScheduleConfig& config = whole.schedule;
  const bool divides = divides_by_signal(whole.prediction);
  if (config.kind == ScheduleKind::kEdm && config.sigma_min >= config.sigma_max) {
    reader.fail(reader.has("sigma_min") ? "sigma_min" : "sigma_max",
                fmt::format("makes sigma_min = {} no smaller than sigma_max = {}; noise must grow "
                            "with t",
                            config.sigma_min, config.sigma_max));
  }
  if (reads_beta_range(config.kind) && config.beta_start > config.beta_end) {
    reader.fail(
        reader.has("beta_start") ? "beta_start" : "beta_end",
        fmt::format("makes beta_start = {} exceed beta_end = {}; noise must not shrink with t",
                    config.beta_start, config.beta_end));
  }
  if (ends_in_noise(config)) {
    const bool flow = config.kind == ScheduleKind::kFlow;
    if (flow && config.zero_terminal_snr)
      reader.fail("zero_terminal_snr", "has no effect with schedule = \"flow\"; leave it out");
    if (config.timesteps < 2)
      reader.fail(
          flow ? "timesteps" : "zero_terminal_snr",
          flow ? "must be 2 or more with schedule = \"flow\"" : "needs timesteps of 2 or more");
    if (!divides) return;
    reader.fail("prediction",
                fmt::format("= \"{}\" says nothing about the image at the last step of {}; use {}",
                            config::to_string(whole.prediction),
                            flow ? "schedule = \"flow\"" : "zero_terminal_snr",
                            flow ? "flow, v or x0" : "v or x0"));
  }
  const double last = Schedule(config).alpha_bar(config.timesteps);
  if (config.kind == ScheduleKind::kTable && last < kMinAlphaBar) {
    if (!divides) return;
    reader.fail("betas",
                "leave nothing of the image at the last step, where prediction must be v or "
                "x0");
  }
  if (last < kMinAlphaBar) {
    reader.fail("timesteps",
                fmt::format("leaves alpha_bar = {:.1e} of the image at the last step; use fewer "
                            "steps or smaller betas",
                            last));
  }
}

}  // namespace

bool divides_by_signal(Prediction prediction) {
  return prediction == Prediction::kEpsilon || prediction == Prediction::kMu ||
         prediction == Prediction::kEdm;
}

void fields(config::Fields& f, DiffusionConfig& c) {
  const config::Range<double> open_unit{0.0, 1.0, true, true};
  ScheduleConfig& schedule = c.schedule;
  f("schedule", schedule.kind);
  f("timesteps", schedule.timesteps, {1, kMaxTimesteps});
  f("beta_start", schedule.beta_start, open_unit);
  f("beta_end", schedule.beta_end, open_unit);
  f("cosine_s", schedule.cosine_s, {0.0, 1.0});
  if (schedule.kind == ScheduleKind::kTable) f("betas", schedule.betas, {0.0, 1.0, true, false}, 1);
  f("zero_terminal_snr", schedule.zero_terminal_snr);
  if (schedule.kind == ScheduleKind::kEdm) {
    f("sigma_min", schedule.sigma_min, {1e-6, 1e6});
    f("sigma_max", schedule.sigma_max, {1e-6, 1e6});
  }
  f("prediction", c.prediction);
  if (c.prediction == Prediction::kEdm) f("data_std", c.data_std, {1e-3, 1e3});
}

DiffusionConfig read_diffusion_config(config::Reader& reader) {
  const auto config = config::read<DiffusionConfig>(reader);
  if (config.schedule.kind == ScheduleKind::kTable)
    check_betas(config.schedule.betas, config.schedule.timesteps, reader);
  check(config, reader);
  return config;
}

}  // namespace ddpm::diffusion
