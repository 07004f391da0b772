#pragma once

#include "ddpm/eval/likelihood.h"

#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// What rate and distortion are computed from, of each image, float64.
struct RateNumbers {
  torch::Tensor prior;           ///< [images]: nats
  torch::Tensor nats;            ///< [terms, images]: of one jump of each term
  torch::Tensor within;          ///< [terms, images]: nats of the term's jumps above that one
  torch::Tensor squared_errors;  ///< [terms, images]: of x0_hat, per dimension
};

/// Sets rate and distortion of the terms.
void set_rate_distortion_(std::vector<LikelihoodTerm>& terms, const RateNumbers& numbers,
                          double dimensions);

}  // namespace ddpm::eval
