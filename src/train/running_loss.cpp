#include "running_loss.h"

#include <cmath>
#include <limits>

namespace ddpm::train {

void RunningLoss::add(double loss, int64_t steps) {
  constexpr double kDecay = 0.98;  // about the last 50 steps
  if (steps <= 0 || !std::isfinite(loss)) return;
  const double kept = std::pow(kDecay, static_cast<double>(steps));
  sum_ = kept * sum_ + (1.0 - kept) * loss;
  weight_ = kept * weight_ + (1.0 - kept);
}

double RunningLoss::with(double loss, int64_t steps) const {
  RunningLoss after = *this;
  after.add(loss, steps);
  return after.weight_ > 0.0 ? after.sum_ / after.weight_
                             : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace ddpm::train
