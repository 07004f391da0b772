#include "ddpm/sample/clip.h"

#include <torch/types.h>

namespace ddpm::sample {

const std::vector<std::string>& clip_names() {
  static const std::vector<std::string> names{"none", "clip", "rederive"};
  return names;
}

std::string to_string(Clip clip) { return clip_names().at(static_cast<size_t>(clip)); }

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
