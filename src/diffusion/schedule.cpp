#include "ddpm/diffusion/schedule.h"

#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <numbers>

#include <torch/types.h>

namespace ddpm::diffusion {
namespace {

constexpr double kCosineMaxBeta = 0.999;  // Nichol 2021, Sec. 3.2: no singularity at t = T

double cosine_beta(int64_t t, int64_t timesteps, double s) {
  const auto f = [&](int64_t at) {
    const double u = static_cast<double>(at) / static_cast<double>(timesteps);
    const double c = std::cos((u + s) / (1 + s) * std::numbers::pi / 2);
    return c * c;
  };
  return std::min(1 - f(t) / f(t - 1), kCosineMaxBeta);
}

// sqrt((1 - alpha_bar_t) / alpha_bar_t) of a kind that is made of noise levels.
double noise_level_at(const ScheduleConfig& config, int64_t t) {
  if (t == 0) return 0;
  if (config.kind == ScheduleKind::kFlow)  // tau / (1 - tau); infinite at T
    return static_cast<double>(t) / static_cast<double>(config.timesteps - t);
  constexpr double kRho = 7;  // Karras 2022, Sec. 3
  const double last = static_cast<double>(std::max<int64_t>(config.timesteps - 1, 1));
  const double u = config.timesteps == 1 ? 1.0 : static_cast<double>(t - 1) / last;
  const double low = std::pow(config.sigma_min, 1 / kRho);
  const double high = std::pow(config.sigma_max, 1 / kRho);
  return std::pow(low + u * (high - low), kRho);
}

// 1 - alpha_bar_t / alpha_bar_{t-1} with alpha_bar = 1 / (1 + level^2), as products of differences:
// no digits are lost where two levels are near each other.
double beta_between(double before, double level) {
  if (std::isinf(level)) return 1;
  return (level - before) * (level + before) / (1 + level * level);
}

double beta_at(const ScheduleConfig& config, int64_t t) {
  const int64_t last = config.timesteps - 1;
  const double u = last == 0 ? 0.0 : static_cast<double>(t - 1) / static_cast<double>(last);
  const double low = config.beta_start, high = config.beta_end;
  switch (config.kind) {
    case ScheduleKind::kLinear:
      return low + u * (high - low);
    case ScheduleKind::kCosine:
      return cosine_beta(t, config.timesteps, config.cosine_s);
    case ScheduleKind::kQuadratic: {
      const double root = std::sqrt(low) + u * (std::sqrt(high) - std::sqrt(low));
      return root * root;
    }
    case ScheduleKind::kSigmoid:
      return low + (high - low) / (1 + std::exp(6 - 12 * u));
    case ScheduleKind::kConstant:
      return high;
    case ScheduleKind::kTable:
      return config.betas.at(static_cast<size_t>(t - 1));
    case ScheduleKind::kFlow:
    case ScheduleKind::kEdm:
      return beta_between(noise_level_at(config, t - 1), noise_level_at(config, t));
  }
  TORCH_CHECK(false, "unknown schedule");
}

// The betas whose sqrt(alpha_bar) is that of `betas`, shifted to 0 at T and scaled to keep its first
// value (Lin 2024, Algorithm 1).
std::vector<double> with_zero_terminal_snr(const std::vector<double>& betas) {
  TORCH_CHECK(betas.size() >= 2, "zero terminal SNR needs at least 2 timesteps");
  std::vector<double> roots;
  double alpha_bar = 1;
  for (const double beta : betas) roots.push_back(std::sqrt(alpha_bar *= 1 - beta));
  const double first = roots.front(), last = roots.back();
  std::vector<double> rescaled{betas.front()};
  double before = first;
  for (size_t i = 1; i < betas.size(); ++i) {
    const double root = (roots[i] - last) * first / (first - last);
    rescaled.push_back(1 - (root / before) * (root / before));
    before = root;
  }
  return rescaled;
}

// beta_1..beta_T.
std::vector<double> betas_of(const ScheduleConfig& config) {
  std::vector<double> betas;
  for (int64_t t = 1; t <= config.timesteps; ++t) betas.push_back(beta_at(config, t));
  return config.zero_terminal_snr ? with_zero_terminal_snr(betas) : betas;
}

}  // namespace

bool reads_beta_range(ScheduleKind kind) {
  return kind == ScheduleKind::kLinear || kind == ScheduleKind::kQuadratic ||
         kind == ScheduleKind::kSigmoid;
}

bool ends_in_noise(const ScheduleConfig& config) {
  return config.zero_terminal_snr || config.kind == ScheduleKind::kFlow;
}

ScheduleConfig without_unused(ScheduleConfig config) {
  const ScheduleConfig defaults;
  const bool ranged = reads_beta_range(config.kind);
  if (config.kind != ScheduleKind::kCosine) config.cosine_s = defaults.cosine_s;
  if (config.kind != ScheduleKind::kTable) config.betas = defaults.betas;
  if (!ranged && config.kind != ScheduleKind::kConstant) config.beta_end = defaults.beta_end;
  if (!ranged) config.beta_start = defaults.beta_start;
  if (config.kind != ScheduleKind::kEdm) {
    config.sigma_min = defaults.sigma_min;
    config.sigma_max = defaults.sigma_max;
  }
  return config;
}

/// The tables on each device that has used them. Never cleared, so that returned tensors stay
/// valid.
struct Schedule::DeviceCopies {
  std::mutex mutex;
  std::map<std::pair<torch::DeviceType, torch::DeviceIndex>, torch::Tensor> tensors;

  torch::Tensor on(const torch::Device& device, const torch::Tensor& host) {
    const std::lock_guard lock(mutex);
    torch::Tensor& copy = tensors[{device.type(), device.index()}];
    if (!copy.defined()) {
      copy = host.to(device);
    }
    return copy;
  }
};

Schedule::Schedule(const ScheduleConfig& config)
    : config_(config), timesteps_(config.timesteps), copies_(std::make_shared<DeviceCopies>()) {
  TORCH_CHECK(timesteps_ >= 1, "a schedule needs at least one timestep, not ", timesteps_);
  one_minus_alpha_bar_.assign(static_cast<size_t>(timesteps_) + 1, 0.0);
  tables_ = torch::full({static_cast<int64_t>(Table::kCount), timesteps_ + 1},
                        std::numeric_limits<double>::quiet_NaN(), torch::kFloat64);
  auto table = tables_.accessor<double, 2>();
  const auto set = [&](Table row, int64_t t, double value) {
    table[static_cast<int64_t>(row)][t] = value;
  };

  const std::vector<double> betas = betas_of(config);
  const bool may_end = config.kind == ScheduleKind::kTable || ends_in_noise(config);
  double alpha_bar_before = 1;
  for (int64_t t = 1; t <= timesteps_; ++t) {
    const double beta = betas[static_cast<size_t>(t - 1)];
    const bool ends = t == timesteps_ && may_end && beta == 1;
    TORCH_CHECK((beta > 0 && beta < 1) || ends, "beta_", t, " = ", beta, " is not between 0 and 1");
    const double alpha = 1 - beta;
    const double alpha_bar = alpha_bar_before * alpha;
    const double noise_before = one_minus_alpha_bar_[t - 1];
    // 1 - alpha_bar_t as a sum of positive terms: no digits are lost if alpha_bar is near 1.
    const double noise = noise_before + alpha_bar_before * beta;
    one_minus_alpha_bar_[t] = noise;
    set(Table::kBeta, t, beta);
    set(Table::kAlpha, t, alpha);
    set(Table::kAlphaBar, t, alpha_bar);
    set(Table::kSqrtBeta, t, std::sqrt(beta));
    set(Table::kSqrtAlpha, t, std::sqrt(alpha));
    set(Table::kSqrtAlphaBar, t, std::sqrt(alpha_bar));
    set(Table::kSqrtOneMinusAlphaBar, t, std::sqrt(noise));
    set(Table::kPosteriorMeanX0, t, std::sqrt(alpha_bar_before) * beta / noise);
    set(Table::kPosteriorMeanXt, t, std::sqrt(alpha) * noise_before / noise);
    set(Table::kPosteriorVariance, t, noise_before / noise * beta);
    set(Table::kSnr, t, alpha_bar / noise);
    alpha_bar_before = alpha_bar;
  }
}

double Schedule::alpha_bar(int64_t t) const { return t == 0 ? 1.0 : at(Table::kAlphaBar, t); }

double Schedule::one_minus_alpha_bar(int64_t t) const {
  TORCH_CHECK(t >= 0 && t <= timesteps_, "t = ", t, " is not in 0..", timesteps_);
  return one_minus_alpha_bar_[t];
}

double Schedule::jump_beta(int64_t t, int64_t s) const {
  TORCH_CHECK(0 <= s && s < t, "a jump needs 0 <= s < t, not s = ", s, ", t = ", t);
  // beta_{t|s} = beta_{t-1|s} + (1 - beta_{t-1|s}) beta_t: a sum of positive terms, which neither
  // loses digits (if alpha_bar is near 1 or near 0) nor passes 1.
  double jump = 0;
  for (int64_t i = s + 1; i <= t; ++i) jump += (1 - jump) * beta(i);
  return jump;
}

double Schedule::at(Table table, int64_t t) const {
  TORCH_CHECK(t >= 1 && t <= timesteps_, "t = ", t, " is not in 1..", timesteps_);
  return tables_.const_data_ptr<double>()[static_cast<int64_t>(table) * (timesteps_ + 1) + t];
}

torch::Tensor Schedule::gather(Table table, const torch::Tensor& t,
                               const torch::Tensor& like) const {
  TORCH_CHECK(t.dim() == 1 && t.scalar_type() == torch::kInt64, "t must be int64 [B]");
  if (t.is_cpu()) {  // read as memory: no operation of a training step depends on the numbers
    const auto times = t.accessor<int64_t, 1>();
    for (int64_t i = 0; i < times.size(0); ++i)
      TORCH_CHECK(times[i] >= 1 && times[i] <= timesteps_, "t = ", times[i], " is not in 1..",
                  timesteps_);
  }
  std::vector<int64_t> shape(static_cast<size_t>(like.dim()), 1);
  shape.at(0) = t.size(0);
  const torch::Tensor row = copies_->on(t.device(), tables_).select(0, static_cast<int64_t>(table));
  return row.index_select(0, t).to(like.scalar_type()).view(shape);
}

}  // namespace ddpm::diffusion
