#include "ddpm/diffusion/diffusion_config.h"

#include <algorithm>

#include <fmt/format.h>

namespace ddpm::diffusion {
namespace {

// x0_hat divides by sqrt(alpha_bar_T): 1e-30 still leaves float32 (down to 1e-38) room for rounding
// errors.
constexpr double kMinAlphaBar = 1e-60;
constexpr int64_t kMaxTimesteps = 1'000'000;

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
  const bool divides =
      whole.prediction == Prediction::kEpsilon || whole.prediction == Prediction::kMu;
  const bool ranged = config.kind != ScheduleKind::kCosine &&
                      config.kind != ScheduleKind::kConstant && config.kind != ScheduleKind::kTable;
  if (ranged && config.beta_start > config.beta_end) {
    reader.fail(
        reader.has("beta_start") ? "beta_start" : "beta_end",
        fmt::format("makes beta_start = {} exceed beta_end = {}; noise must not shrink with t",
                    config.beta_start, config.beta_end));
  }
  if (config.zero_terminal_snr) {
    if (config.timesteps < 2) reader.fail("zero_terminal_snr", "needs timesteps of 2 or more");
    if (!divides) return;
    reader.fail("prediction",
                fmt::format("= \"{}\" says nothing about the image at the last step of "
                            "zero_terminal_snr; use v or x0",
                            config::to_string(whole.prediction)));
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
  f("prediction", c.prediction);
}

DiffusionConfig read_diffusion_config(config::Reader& reader) {
  const auto config = config::read<DiffusionConfig>(reader);
  if (config.schedule.kind == ScheduleKind::kTable)
    check_betas(config.schedule.betas, config.schedule.timesteps, reader);
  check(config, reader);
  return config;
}

}  // namespace ddpm::diffusion
