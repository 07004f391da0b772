#include "optimal_steps.h"

#include "ddpm/diffusion/image_range.h"
#include "ddpm/sample/timestep_plan.h"
#include "noise_spacing.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <torch/types.h>

namespace ddpm::sample {
namespace {

constexpr int64_t kMaxCandidates = 1000;

// Timesteps to choose from, ascending, with 1 and T.
std::vector<int64_t> candidates(const diffusion::Schedule& schedule, int64_t steps) {
  const int64_t T = schedule.timesteps(), count = std::max(kMaxCandidates, steps);
  if (T > count) return timesteps_by_noise(schedule, count, Spacing::kLogSnr);
  std::vector<int64_t> all(static_cast<size_t>(T));
  std::iota(all.begin(), all.end(), 1);
  return all;
}

}  // namespace

double jump_divergence(const diffusion::Schedule& schedule,
                       const std::vector<double>& posterior_variance, int64_t t, int64_t s) {
  const double variance = posterior_variance.at(static_cast<size_t>(t));
  if (s == 0) return 0.5 * std::log(variance + diffusion::kLevelVariance);
  // Ho 2020, Eq. 7 for the jump. jump_beta() would cost a loop.
  const double noise = schedule.one_minus_alpha_bar(t);
  const double beta = 1 - schedule.alpha_bar(t) / schedule.alpha_bar(s);
  const double weight = std::sqrt(schedule.alpha_bar(s)) * beta / noise;
  const double small = schedule.one_minus_alpha_bar(s) / noise * beta;
  return 0.5 * std::log1p(weight * weight * variance / small);
}

std::vector<int64_t> optimal_timesteps(const diffusion::Schedule& schedule,
                                       const std::vector<double>& posterior_variance,
                                       int64_t steps) {
  const int64_t T = schedule.timesteps();
  TORCH_CHECK(1 <= steps && steps <= T, "the number of steps is not in 1..T");
  TORCH_CHECK(std::ssize(posterior_variance) == T + 1, "one variance for each of t = 0..T");
  const std::vector<int64_t> t = candidates(schedule, steps);
  if (steps == T) return t;
  const size_t n = t.size();
  constexpr double kNever = std::numeric_limits<double>::infinity();
  // loss[i]: of the best k + 1 timesteps from T down to t[i]; before[k][i]: the one before it.
  std::vector<double> loss(n - 1, kNever);
  loss.push_back(0);
  std::vector<double> jumps(n * n, 0.0);  // [from * n + to]
  for (size_t from = 0; from < n; ++from)
    for (size_t to = 0; to < from; ++to)
      jumps[from * n + to] = jump_divergence(schedule, posterior_variance, t[from], t[to]);
  std::vector<std::vector<size_t>> before;
  for (int64_t k = 1; k < steps; ++k) {
    std::vector<double> next(n, kNever);
    before.emplace_back(n, 0);
    for (size_t from = n; from-- > 0;) {
      if (loss[from] == kNever) continue;
      for (size_t to = 0; to < from; ++to) {
        const double sum = loss[from] + jumps[from * n + to];
        if (sum >= next[to]) continue;
        next[to] = sum;
        before.back()[to] = from;
      }
    }
    loss = std::move(next);
  }
  size_t best = 0;
  double least = kNever;
  for (size_t i = 0; i < n; ++i) {
    const double sum = loss[i] + jump_divergence(schedule, posterior_variance, t[i], 0);
    if (sum < least) least = sum, best = i;
  }
  std::vector<int64_t> ascending{t[best]};
  for (size_t k = before.size(); k-- > 0;) ascending.push_back(t[best = before[k][best]]);
  return ascending;
}

}  // namespace ddpm::sample
