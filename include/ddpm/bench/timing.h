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
  /// 0 <= q <= 1, with linear interpolation.
  double quantile(double q) const;
};

/// Work that is run several times.
struct Task {
  std::string name;
  std::function<void()> run;
};

/// Runs each task `warm_up` times, then all of them in turn, `repeats` times, waiting for the
/// device. Other load on the machine then affects all tasks. One entry per task.
std::vector<Times> measure_in_turn(const std::vector<Task>& tasks, const torch::Device& device,
                                   int64_t warm_up, int64_t repeats);

}  // namespace ddpm::bench
