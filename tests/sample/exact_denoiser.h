#pragma once

#include "ddpm/diffusion/diffusion.h"
#include "ddpm/diffusion/schedule.h"

#include <vector>

#include <torch/types.h>

// Networks that could not be better: E[eps | x_t] in closed form for data whose law is known
// (docs/math.md, "The best possible network").

namespace ddpm::sample {

/// For data N(mean, variance) in every pixel, all pixels independent.
diffusion::Denoiser gaussian_denoiser(
    const diffusion::Schedule& schedule, double mean, double variance,
    diffusion::Prediction prediction = diffusion::Prediction::kEpsilon);

/// For data N(mean, covariance) over the D = C H W pixels of an image; mean [D], covariance [D,D].
diffusion::Denoiser gaussian_denoiser(const diffusion::Schedule& schedule,
                                      const torch::Tensor& mean, const torch::Tensor& covariance);

/// A Gaussian mixture with one variance: component i is N(means[i], variance) with weight
/// weights[i], in every pixel, all pixels independent.
struct Mixture {
  std::vector<double> weights;  ///< sum to 1
  std::vector<double> means;
  double variance;

  double mean() const;
  double total_variance() const;
};
diffusion::Denoiser mixture_denoiser(const diffusion::Schedule& schedule, const Mixture& mixture);

}  // namespace ddpm::sample
