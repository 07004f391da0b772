#include "check_schedule.h"

#include "check_row.h"
#include "ddpm/diffusion/schedule.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include <fmt/format.h>

namespace ddpm::eval {
namespace {

constexpr const char* kSchedule = "schedule";
constexpr const char* kVariance = "variance";
constexpr const char* kWrongTables =
    "the schedule's tables contradict each other: the program is at fault";

// Rounding of a sum or product of T terms.
double tolerance_of(int64_t timesteps) {
  return std::max(1e-12, 4e-16 * static_cast<double>(timesteps));
}

// |a / b - 1|; 0 if both are 0.
double relative(double a, double b) { return a == b ? 0.0 : std::abs(a - b) / std::abs(b); }

// The largest of f(t) over t = first..T; NaN if one is NaN.
double largest(int64_t first, int64_t timesteps, const std::function<double(int64_t)>& f) {
  double most = 0.0;
  for (int64_t t = first; t <= timesteps; ++t) {
    const double value = f(t);
    if (std::isnan(value)) return value;
    most = std::max(most, value);
  }
  return most;
}

// alpha_bar_t = exp(sum log(1 - beta)), and 1 - alpha_bar_t, in long double.
double product_error(const ScheduleNumbers& n) {
  long double sum = 0;
  return largest(1, n.timesteps(), [&](int64_t t) {
    const auto i = static_cast<size_t>(t);
    sum += std::log1p(-static_cast<long double>(n.beta[i]));
    const auto alpha_bar = static_cast<double>(std::exp(sum));
    const auto rest = static_cast<double>(-std::expm1(sum));
    return std::max({relative(n.alpha_bar[i], alpha_bar), relative(n.one_minus_alpha_bar[i], rest),
                     relative(n.snr[i], alpha_bar / rest)});
  });
}

double exceptions(int64_t timesteps, const std::function<bool(size_t)>& rule) {
  int64_t count = 0;
  for (int64_t t = 1; t <= timesteps; ++t)
    if (!rule(static_cast<size_t>(t))) ++count;
  return static_cast<double>(count);
}

std::vector<CheckRow> posterior_rows(const ScheduleNumbers& n, double tolerance) {
  const int64_t last = n.timesteps();
  std::vector<CheckRow> rows;
  const auto add = [&](const char* name, int64_t first, const std::function<double(size_t)>& f) {
    rows.push_back(deviation(kSchedule, name, tolerance,
                             largest(first, last, [&](int64_t t) { return f(t); }), kWrongTables));
  };
  add("1/beta_tilde = alpha/beta + 1/n_{t-1}^2", 2, [&](size_t t) {
    const double precision = (1 - n.beta[t]) / n.beta[t] + 1 / n.one_minus_alpha_bar[t - 1];
    return relative(n.beta_tilde[t] * precision, 1.0);
  });
  add("c + d a_t = a_{t-1}", 1, [&](size_t t) {
    return relative(n.weight_x0[t] + n.weight_x_t[t] * std::sqrt(n.alpha_bar[t]),
                    std::sqrt(n.alpha_bar[t - 1]));
  });
  add("d^2 n_t^2 + beta_tilde = n_{t-1}^2", 1, [&](size_t t) {
    return relative(n.weight_x_t[t] * n.weight_x_t[t] * n.one_minus_alpha_bar[t] + n.beta_tilde[t],
                    n.one_minus_alpha_bar[t - 1]);
  });
  return rows;
}

// The last two identities of the posterior for the jumps of S steps.
CheckRow jumps_row(const CheckContext& context, const ScheduleNumbers& n, double tolerance) {
  const int64_t steps = std::min(context.options.steps, n.timesteps());
  double most = 0;
  for (const sample::PlanStep& jump :
       sample::timestep_plan(n.timesteps(), steps, sample::Spacing::kTrailing)) {
    const diffusion::JumpPosterior q = context.parts.jump(context.schedule(), jump.t, jump.s);
    const auto t = static_cast<size_t>(jump.t), s = static_cast<size_t>(jump.s);
    most = std::max(
        {most, relative(q.x0 + q.x_t * std::sqrt(n.alpha_bar[t]), std::sqrt(n.alpha_bar[s])),
         relative(q.x_t * q.x_t * n.one_minus_alpha_bar[t] + q.small, n.one_minus_alpha_bar[s])});
  }
  return deviation(kSchedule, fmt::format("the last two for the jumps of {} steps", steps),
                   tolerance, most, kWrongTables);
}

// The optimal variance of a jump to t - 1 over its bounds, by the variance of x_0 given x_t.
struct Bounds {
  double over_upper = 0.0;
  double over_lower = std::numeric_limits<double>::infinity();
};

Bounds bounds_of(const diffusion::Schedule& schedule, const std::vector<double>& variance) {
  Bounds b;
  for (int64_t t = 2; t <= schedule.timesteps(); ++t) {
    const double v = variance[static_cast<size_t>(t)];
    const double sigma = diffusion::noise_level(schedule, t);
    // Theorem 2 with lambda^2 = 0, where both sides have the factor w^2. x_0 is in [-1,1].
    b.over_upper = std::max(b.over_upper, v / std::min(sigma * sigma, 1.0));
    const diffusion::JumpPosterior q = diffusion::jump_posterior(schedule, t, t - 1);
    b.over_lower = std::min(b.over_lower, (q.small + q.x0 * q.x0 * v) / q.small);
  }
  return b;
}

}  // namespace

ScheduleNumbers numbers_of(const diffusion::Schedule& schedule) {
  ScheduleNumbers n;
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  for (int64_t t = 0; t <= schedule.timesteps(); ++t) {
    const auto at = [&](diffusion::Table table) { return t == 0 ? kNone : schedule.at(table, t); };
    n.beta.push_back(at(diffusion::Table::kBeta));
    n.alpha_bar.push_back(schedule.alpha_bar(t));
    n.one_minus_alpha_bar.push_back(schedule.one_minus_alpha_bar(t));
    n.weight_x0.push_back(at(diffusion::Table::kPosteriorMeanX0));
    n.weight_x_t.push_back(at(diffusion::Table::kPosteriorMeanXt));
    n.beta_tilde.push_back(at(diffusion::Table::kPosteriorVariance));
    n.snr.push_back(at(diffusion::Table::kSnr));
  }
  return n;
}

std::vector<CheckRow> schedule_rows(const CheckContext& context) {
  const ScheduleNumbers n = context.parts.numbers(context.schedule());
  const int64_t last = n.timesteps();
  const double tolerance = tolerance_of(last), none = std::numeric_limits<double>::quiet_NaN();
  std::vector<CheckRow> rows{
      deviation(kSchedule, "timesteps at which alpha_bar does not fall", 0,
                exceptions(last, [&](size_t t) { return n.alpha_bar[t] < n.alpha_bar[t - 1]; }),
                kWrongTables),
      deviation(kSchedule, "alpha_bar, 1 - alpha_bar and SNR from the betas", tolerance,
                product_error(n), kWrongTables),
      deviation(kSchedule, "timesteps with beta_tilde outside 0 .. beta", 0,
                exceptions(last,
                           [&](size_t t) {
                             return n.beta_tilde[t] >= 0 &&
                                    n.beta_tilde[t] <= n.beta[t] * (1 + 1e-12);
                           }),
                kWrongTables)};
  for (const CheckRow& row : posterior_rows(n, tolerance)) rows.push_back(row);
  rows.push_back(jumps_row(context, n, tolerance));
  rows.push_back(noted(kSchedule, "SNR at t = 1", none, n.snr[1]));
  rows.push_back(noted(kSchedule, "SNR at t = T", none, n.snr.back()));
  const double left = n.alpha_bar.back();
  rows.push_back(noted(kSchedule, "alpha_bar_T", 0, left,
                       left > 0.05 ? "x_T keeps much of the image, but samples begin without one: "
                                     "use more timesteps or larger betas"
                                   : ""));
  return rows;
}

std::vector<CheckRow> variance_rows(const CheckContext& context) {
  const char *lower = "smallest sigma*^2 over its lower bound",
             *upper = "largest sigma*^2 over its upper bound";
  if (!context.subject.variance)
    return {left_out(kVariance, "sigma*^2 within its bounds", context.subject.no_variance)};
  const diffusion::Schedule& schedule = context.schedule();
  if (schedule.timesteps() < 2)
    return {left_out(kVariance, "sigma*^2 within its bounds", "the schedule has one timestep")};
  const Bounds b = bounds_of(schedule, context.subject.variance->at_every_t(schedule));
  const double inf = std::numeric_limits<double>::infinity();
  const char* advice = "the measured variance is of another network or schedule: run ddpm estimate";
  constexpr double kNoise = 1.01;  // of the 512 images that it is usually measured on
  return {judged(kVariance, lower, 1, 1 - 1e-12, inf, b.over_lower, advice),
          judged(kVariance, upper, 1, 0, kNoise, b.over_upper, advice)};
}

}  // namespace ddpm::eval
