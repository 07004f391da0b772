#pragma once

#include "ddpm/diffusion/schedule.h"
#include "ddpm/sample/sample_config.h"

#include <cstdint>
#include <string>
#include <vector>

// What S steps of a sampler make of Gaussian data, and how far that is from the data: the formulas
// of docs/math.md, "Discretisation error", from alpha_bar alone.

namespace ddpm::sample {

/// One jump for data of variance c in one direction: y_s = gain y_t + sqrt(noise) z for the centred
/// y = x - a m.
struct GaussianStep {
  double gain;
  double noise;    ///< sigma^2
  double deficit;  ///< D_s - variance(y_s), where y_t had the right variance D_t
  double target;   ///< D_s = alpha_bar_s c + 1 - alpha_bar_s
};

/// The law of the finished images in one direction.
struct GaussianOutcome {
  double mean;            ///< of x_0
  double variance;        ///< of x_0
  double variance_bound;  ///< on |variance - c| / c, for any c
  double mean_bound;      ///< on |mean - m|
};

std::vector<GaussianStep> gaussian_steps(const diffusion::Schedule& schedule,
                                         const SampleConfig& config, double c);
GaussianOutcome gaussian_outcome(const diffusion::Schedule& schedule, const SampleConfig& config,
                                 double m, double c);

/// b, the weight of eps_hat in a jump (docs/math.md), and sigma^2.
struct JumpWeights {
  double b;
  double noise;
  double extra;  ///< what sigma^2 has beyond the sigma^2 with which b keeps the marginal
};
JumpWeights jump_weights(const diffusion::Schedule& schedule, const SampleConfig& config,
                         PlanStep step);

/// The samplers under test, by the name that a failure prints.
struct NamedSampler {
  std::string name;
  SampleConfig config;
};
std::vector<NamedSampler> samplers_with(int64_t steps);

}  // namespace ddpm::sample
