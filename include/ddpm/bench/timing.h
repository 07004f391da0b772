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
  /// Half the distance between the quartiles, as a share of the median: the spread.
  double spread() const;
  /// 0 <= q <= 1, between the nearest two where it lies between.
  double quantile(double q) const;
};

/// A piece of work, run as often as is asked for.
struct Task {
  std::string name;
  std::function<void()> run;
};

/// Runs each task `warm_up` times, then all of them in turn, `repeats` times, waiting for the
/// device: what slows the machine down for a while slows all of them. One entry a task.
std::vector<Times> measure_in_turn(const std::vector<Task>& tasks, const torch::Device& device,
                                   int64_t warm_up, int64_t repeats);

}  // namespace ddpm::bench
