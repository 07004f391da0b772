#pragma once

#include "ddpm/config/names.h"

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include <torch/types.h>

namespace ddpm::diffusion {

/// How beta_t grows with t = 1..T. u = (t - 1) / (T - 1) runs over 0..1; it is 0 if T = 1.
enum class ScheduleKind {
  /// beta_start + u (beta_end - beta_start) (Ho 2020).
  kLinear,
  /// 1 - f(t) / f(t-1) with f(t) = cos^2(pi/2 (t/T + s) / (1 + s)), at most 0.999 (Nichol and
  /// Dhariwal 2021, Eq. 17).
  kCosine,
  /// (sqrt(beta_start) + u (sqrt(beta_end) - sqrt(beta_start)))^2 (Ho's code).
  kQuadratic,
  /// beta_start + (beta_end - beta_start) / (1 + exp(6 - 12 u)) (DDIM's code).
  kSigmoid,
  /// beta_end (Ho's code).
  kConstant,
  /// The betas of a list.
  kTable,
  /// The straight path (1 - tau) x_0 + tau eps with tau = t/T, scaled to variance-preserving form
  /// (Lipman 2023, Eq. 22, sigma_min = 0; Liu 2023): noise level tau / (1 - tau). Pure noise at T.
  kFlow,
  /// Noise levels (sigma_min^(1/7) + u (sigma_max^(1/7) - sigma_min^(1/7)))^7 (Karras 2022, Eq. 5).
  kEdm,
};

/// The names in a config.
constexpr auto names_of(ScheduleKind) {
  return std::array{"linear", "cosine", "quadratic", "sigmoid", "constant", "table", "flow", "edm"};
}

inline constexpr int64_t kMaxTimesteps = 1'000'000;

struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::kLinear;
  int64_t timesteps = 1000;  ///< T, at least 1
  double beta_start = 1e-4;  ///< 0 < beta_start <= beta_end < 1; see reads_beta_range
  double beta_end = 0.02;    ///< read by constant too
  double cosine_s = 0.008;   ///< the cosine's offset, 0 or more: keeps beta_1 away from 0
  /// The table's: one per timestep, in 0..1. Only the last may be 1, which removes the image at t =
  /// T (as zero_terminal_snr does): then neither eps nor mu can be predicted.
  std::vector<double> betas = {};
  /// Shifts and scales sqrt(alpha_bar) so that it is 0 at T and unchanged at 1 (Lin 2024, Algorithm
  /// 1). Needs T of 2 or more.
  bool zero_terminal_snr = false;
  double sigma_min = 0.002;  ///< edm's noise level at t = 1, above 0
  double sigma_max = 80;     ///< edm's noise level at t = T, above sigma_min

  bool operator==(const ScheduleConfig&) const = default;
};

/// Whether the kind has betas from beta_start to beta_end.
bool reads_beta_range(ScheduleKind kind);
/// Whether nothing of the image is left at t = T because the kind or zero_terminal_snr says so.
bool ends_in_noise(const ScheduleConfig& config);

/// The config with defaults for the keys that its kind does not read: equal if and only if the
/// schedules are.
ScheduleConfig without_unused(ScheduleConfig config);

/// The tables that gather() reads, by t = 1..T.
enum class Table {
  kBeta,
  kAlpha,                 ///< 1 - beta
  kAlphaBar,              ///< prod alpha
  kSqrtBeta,              ///< noise of one forward step (Ho 2020, Eq. 2)
  kSqrtAlpha,             ///< signal of one forward step (Ho 2020, Eq. 2)
  kSqrtAlphaBar,          ///< signal of x_t (Ho 2020, Eq. 4)
  kSqrtOneMinusAlphaBar,  ///< noise of x_t (Ho 2020, Eq. 4)
  kPosteriorMeanX0,       ///< x_0's weight in the posterior mean (Ho 2020, Eq. 7)
  kPosteriorMeanXt,       ///< x_t's weight in the posterior mean (Ho 2020, Eq. 7)
  kPosteriorVariance,     ///< beta_tilde (Ho 2020, Eq. 7)
  kSnr,                   ///< alpha_bar / (1 - alpha_bar)
  kCount,
};

/// The noise schedule: every number that depends on t alone, in float64. t runs 1..T, and
/// alpha_bar(0) = 1. Copies share their tables. Safe to use from several threads.
class Schedule {
 public:
  explicit Schedule(const ScheduleConfig& config);

  int64_t timesteps() const { return timesteps_; }
  const ScheduleConfig& config() const { return config_; }

  double beta(int64_t t) const { return at(Table::kBeta, t); }
  double alpha(int64_t t) const { return at(Table::kAlpha, t); }
  /// t = 0 is allowed here and gives 1.
  double alpha_bar(int64_t t) const;
  /// 1 - alpha_bar(t) without cancellation. t = 0 is allowed and gives 0.
  double one_minus_alpha_bar(int64_t t) const;
  /// beta_tilde (Ho 2020, Eq. 7); 0 at t = 1.
  double posterior_variance(int64_t t) const { return at(Table::kPosteriorVariance, t); }
  double snr(int64_t t) const { return at(Table::kSnr, t); }
  /// The beta of the jump from s to t, 0 <= s < t: 1 - alpha_bar(t) / alpha_bar(s). It is beta(t)
  /// if s = t - 1.
  double jump_beta(int64_t t, int64_t s) const;

  double at(Table table, int64_t t) const;
  /// The table's values at t (int64 [B] in 1..T, on like's device), in like's dtype, shaped
  /// [B,1,...,1] to multiply `like`. Copies the tables to a device once, on the first call there;
  /// no host sync after that. A t outside 1..T fails on the CPU. On another device a check would
  /// need a sync; there t = 0 gives NaN.
  torch::Tensor gather(Table table, const torch::Tensor& t, const torch::Tensor& like) const;

 private:
  struct DeviceCopies;
  ScheduleConfig config_;
  int64_t timesteps_;
  std::vector<double> one_minus_alpha_bar_;  // by t = 0..T
  torch::Tensor tables_;  // float64 [Table::kCount, T + 1]: column t, so that no caller ever
                          // shifts t; column 0 is NaN
  std::shared_ptr<DeviceCopies> copies_;
};

/// Half the log-SNR, lambda = log(a / n), with a = sqrt(alpha_bar) and n = sqrt(1 - alpha_bar).
/// Infinite where alpha_bar is 0 or 1. t in 0..T.
double half_log_snr(const Schedule& schedule, int64_t t);
/// The noise level sigma = n / a = exp(-lambda).
double noise_level(const Schedule& schedule, int64_t t);
/// The T - 1 numbers half-way between ln(sigma_t) and ln(sigma_{t+1}), t = 1..T-1, float64: how many of
/// them are below a given ln(sigma), plus 1, is its nearest t. If sigma_T is infinite, ln(sigma_T) counts
/// as far above ln(sigma_{T-1}) as that is above the one before. T of 2 or more, of 3 if so.
torch::Tensor log_sigma_bounds(const Schedule& schedule);
/// Whether alpha_bar_T > 0. Without signal x_T says nothing of x_0 (Lin 2024).
bool has_signal_at_last(const Schedule& schedule);

}  // namespace ddpm::diffusion
