#include "ddpm/sample/clip.h"

#include <algorithm>
#include <cmath>

#include <torch/types.h>

namespace ddpm::sample {
namespace {

// The quantile of |x| of each image, between two neighbours in proportion (numpy's "linear"):
// [B,1,...,1]. at::quantile is limited to 2^24 elements.
torch::Tensor quantile_of_images(const torch::Tensor& x, double q) {
  const auto [sorted, order] = x.abs().flatten(1).sort(1);
  const double rank = q * static_cast<double>(sorted.size(1) - 1);
  const auto low = static_cast<int64_t>(std::floor(rank));
  const int64_t high = std::min(low + 1, sorted.size(1) - 1);
  const torch::Tensor found =
      torch::lerp(sorted.select(1, low), sorted.select(1, high), rank - static_cast<double>(low));
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape.front() = x.size(0);
  return found.view(shape);
}

torch::Tensor within(const torch::Tensor& x0, const ClipBound& bound) {
  if (bound.quantile <= 0) return x0.clamp(-bound.range, bound.range);
  torch::Tensor limit = quantile_of_images(x0, bound.quantile).clamp_min(bound.range);
  if (bound.max > 0) limit = limit.clamp_max(std::max(bound.max, bound.range));
  return torch::clamp(x0, -limit, limit) / limit * bound.range;
}

}  // namespace

diffusion::Estimate clipped(Clip clip, const diffusion::Estimate& estimate,
                            const diffusion::Schedule& schedule, const torch::Tensor& x_t,
                            int64_t t, const ClipBound& bound) {
  if (clip == Clip::kNone) return estimate;
  diffusion::Estimate result = estimate;
  result.x0 = within(estimate.x0, bound);
  if (clip == Clip::kRederive) result.eps = diffusion::implied_eps(result.x0, schedule, x_t, t);
  return result;
}

}  // namespace ddpm::sample
