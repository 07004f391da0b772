#pragma once

#include <functional>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::bench {

/// Wall times of one piece of work, in seconds.
struct Times {
  std::vector<double> seconds;
  double median() const { return quantile(0.5); }
  /// The spread: half the interquartile range divided by the median.
  double spread() const;
  /// The q-quantile, 0 <= q <= 1, with linear interpolation.
  double quantile(double q) const;
};

/// A task to measure.
struct Task {
  std::string name;
  std::function<void()> run;
};

/// Runs each task `warm_up` times, then all tasks in turn, `repeats` times, so that other load on
/// the machine affects all of them. Waits for the device after each run. One entry per task.
std::vector<Times> measure_in_turn(const std::vector<Task>& tasks, const torch::Device& device,
                                   int64_t warm_up, int64_t repeats);

}  // namespace ddpm::bench
