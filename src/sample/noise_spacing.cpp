#include "noise_spacing.h"

#include "ddpm/base/error.h"
#include "ddpm/sample/sample_config.h"
#include "jump.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace ddpm::sample {
namespace {

constexpr double kRho = 7;  // Karras 2022, Sec. 3

// A number that is even along the list, from lambda, and back.
double evened(double lambda, Spacing spacing) {
  return spacing == Spacing::kKarras ? std::exp(-lambda / kRho) : lambda;
}
double lambda_of(double value, Spacing spacing) {
  return spacing == Spacing::kKarras ? -kRho * std::log(value) : value;
}

// The t in 1..last with the nearest lambda, which falls with t.
int64_t nearest_timestep(const diffusion::Schedule& schedule, double lambda, int64_t last) {
  int64_t low = 1, high = last;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (diffusion::half_log_snr(schedule, middle) >= lambda ? low : high) = middle;
  }
  const double below = std::abs(diffusion::half_log_snr(schedule, low) - lambda);
  return std::abs(diffusion::half_log_snr(schedule, high) - lambda) < below ? high : low;
}

}  // namespace

std::vector<int64_t> timesteps_by_noise(const diffusion::Schedule& schedule, int64_t steps,
                                        Spacing spacing) {
  const int64_t T = schedule.timesteps();
  // Without signal lambda is infinite: T itself is taken, and the rest evenly below it.
  const bool no_signal = schedule.alpha_bar(T) == 0;
  if (steps == 1 || T == 1) return {T};
  const int64_t last = no_signal ? T - 1 : T, count = no_signal ? steps - 1 : steps;
  const double first = evened(diffusion::half_log_snr(schedule, 1), spacing);
  const double end = evened(diffusion::half_log_snr(schedule, last), spacing);
  std::vector<int64_t> ascending;
  for (int64_t i = 0; i < count; ++i) {
    const double share = count == 1 ? 1.0 : static_cast<double>(i) / static_cast<double>(count - 1);
    const double lambda = lambda_of(first + share * (end - first), spacing);
    const int64_t free = ascending.empty() ? 1 : ascending.back() + 1;
    ascending.push_back(std::clamp(nearest_timestep(schedule, lambda, last), free,
                                   std::max(free, last - (count - 1 - i))));
  }
  if (no_signal) ascending.push_back(T);
  return ascending;
}

std::vector<int64_t> steps_of_sections(int64_t timesteps, const std::vector<int64_t>& counts) {
  const auto sections = static_cast<int64_t>(counts.size());
  std::vector<int64_t> ascending;
  int64_t begin = 1;
  for (int64_t i = 0; i < sections; ++i) {
    const int64_t size = timesteps / sections + (i < timesteps % sections ? 1 : 0);
    const int64_t count = counts[static_cast<size_t>(i)];
    if (count > size)
      throw UsageError(fmt::format("section {} of {} has {} of the {} timesteps; {} do not fit",
                                   i + 1, sections, size, timesteps, count));
    const double stride =
        count <= 1 ? 1.0 : static_cast<double>(size - 1) / static_cast<double>(count - 1);
    double place = 0;
    for (int64_t k = 0; k < count; ++k) {
      ascending.push_back(begin + static_cast<int64_t>(std::nearbyint(place)));
      place += stride;
    }
    begin += size;
  }
  std::reverse(ascending.begin(), ascending.end());
  return ascending;
}

}  // namespace ddpm::sample
