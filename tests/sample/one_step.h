#pragma once

#include "ddpm/sample/sampler.h"

#include <torch/types.h>

namespace ddpm::sample {

/// What one step of a sampler did.
struct OneStep {
  torch::Tensor x_s;
  int64_t estimates = 0, noises = 0;  ///< calls
};

/// A step with a given estimate at every x and t, and a given z.
inline OneStep one_step(Sampler& sampler, PlanStep step, const torch::Tensor& x_t,
                        const diffusion::Estimate& estimate, const torch::Tensor& z) {
  OneStep done;
  const auto estimator = [&](const torch::Tensor&, int64_t) {
    ++done.estimates;
    return estimate;
  };
  const auto noise = [&](int64_t) {
    ++done.noises;
    return z;
  };
  done.x_s = sampler.step(step, x_t, estimator, noise);
  return done;
}

}  // namespace ddpm::sample
