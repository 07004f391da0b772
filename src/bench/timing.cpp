#include "ddpm/bench/timing.h"

#include "ddpm/base/clock.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include <torch/cuda.h>

namespace ddpm::bench {
namespace {

double time_of(const Task& task, const torch::Device& device) {
  const auto begin = std::chrono::steady_clock::now();
  task.run();
  if (device.is_cuda()) torch::cuda::synchronize(device.index());
  return seconds_since(begin);
}

}  // namespace

double Times::quantile(double q) const {
  TORCH_CHECK(!seconds.empty(), "nothing was measured");
  std::vector<double> sorted = seconds;
  std::sort(sorted.begin(), sorted.end());
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(std::floor(place));
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - std::floor(place)) * (sorted[above] - sorted[below]);
}

double Times::spread() const { return (quantile(0.75) - quantile(0.25)) / 2 / median(); }

std::vector<Times> measure_in_turn(const std::vector<Task>& tasks, const torch::Device& device,
                                   int64_t warm_up, int64_t repeats) {
  std::vector<Times> times(tasks.size());
  for (const Task& task : tasks) {
    for (int64_t i = 0; i < warm_up; ++i) time_of(task, device);
  }
  for (int64_t round = 0; round < repeats; ++round) {
    for (size_t i = 0; i < tasks.size(); ++i) times[i].seconds.push_back(time_of(tasks[i], device));
  }
  return times;
}

}  // namespace ddpm::bench
