#pragma once

#include <cstdint>

namespace ddpm::train {

/// A smoothed loss for display: the exponential moving average over steps, with Adam's bias
/// correction (Kingma 2015, Sec. 3).
class RunningLoss {
 public:
  /// Adds the mean loss of the next `steps` steps, as if it was the loss of each. A loss that is
  /// not finite is ignored.
  void add(double loss, int64_t steps);
  /// The average after add(loss, steps), without adding it; NaN before the first loss.
  double with(double loss, int64_t steps) const;

 private:
  double sum_ = 0.0;
  double weight_ = 0.0;  // 1 - kDecay^steps
};

}  // namespace ddpm::train
