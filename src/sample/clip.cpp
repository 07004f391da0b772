#include "ddpm/sample/clip.h"

#include <torch/types.h>

namespace ddpm::sample {

diffusion::Estimate clipped(Clip clip, const diffusion::Estimate& estimate,
                            const diffusion::Schedule& schedule, const torch::Tensor& x_t,
                            int64_t t, double range) {
  if (clip == Clip::kNone) {
    return estimate;
  }
  const torch::Tensor x0 = estimate.x0.clamp(-range, range);
  if (clip == Clip::kClip) {
    return {x0, estimate.eps};
  }
  return diffusion::estimate(diffusion::Prediction::kX0, schedule, x0, x_t, t);
}

}  // namespace ddpm::sample
