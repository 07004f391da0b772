#pragma once

#include <cstdint>

namespace ddpm::train {

/// A smoothed loss for display: the exponential moving average over steps, with Adam's bias
/// correction (Kingma 2015, Sec. 3).
class RunningLoss {
 public:
  /// Takes the mean loss of the next `steps` steps, as if each of them had it. A loss that is not
  /// finite is left out.
  void add(double loss, int64_t steps);
  /// The average, as it would be after add(loss, steps); NaN before the first loss.
  double with(double loss, int64_t steps) const;

 private:
  double sum_ = 0.0;
  double weight_ = 0.0;  // 1 - kDecay^steps
};

}  // namespace ddpm::train
