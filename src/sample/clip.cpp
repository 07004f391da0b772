#include "ddpm/sample/clip.h"

#include <torch/types.h>

namespace ddpm::sample {

diffusion::Estimate clipped(Clip clip, const diffusion::Estimate& estimate,
                            const diffusion::Schedule& schedule, const torch::Tensor& x_t,
                            int64_t t, double range) {
  if (clip == Clip::kNone) return estimate;
  diffusion::Estimate result = estimate;
  result.x0 = estimate.x0.clamp(-range, range);
  if (clip == Clip::kRederive) result.eps = diffusion::implied_eps(result.x0, schedule, x_t, t);
  return result;
}

}  // namespace ddpm::sample
