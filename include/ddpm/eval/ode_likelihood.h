#pragma once

#include "ddpm/eval/likelihood.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ddpm::eval {

struct OdeOptions {
  std::vector<int64_t> times;  ///< timesteps that the flow visits, ascending (flow_times)
  std::string spacing = {};    ///< of them, for people
  /// Rademacher vectors per image and t that estimate the trace; 0: the exact trace, by one backward
  /// pass per dimension.
  int64_t probes = 1;
  uint64_t seed = 0;  ///< of dequantisation and probes
  int64_t batch = 64;
  torch::Device device = torch::kCPU;
  nn::Precision precision = nn::Precision::kFp32;
  bool deterministic = false;  ///< see nn::ArithmeticGuard
};

/// The timesteps of `plan` between 1 and the last t with signal, and these two: ascending.
std::vector<int64_t> flow_times(const diffusion::Schedule& schedule,
                                const std::vector<sample::PlanStep>& plan);

/// The flow at a timestep.
struct FlowPoint {
  int64_t t = 1;
  double sigma = 0.0;   ///< sqrt((1 - alpha_bar) / alpha_bar)
  Measured divergence;  ///< d(log p) / d(log sigma), per dimension: near 0 to about 1
};

/// -log2 p of images with uniform noise within their levels, per dimension, in units of levels. p is
/// the density that the probability-flow ODE gives images with the noise of t = 1 left. On average
/// an upper bound on -log2 P of the levels. Errors: standard errors of the mean over images, which
/// include the randomness of noise and probes; NaN for a single image.
struct OdeLikelihood {
  int64_t calls = 0;  ///< of the network, per image
  Measured total;     ///< prior + volume
  Measured prior;     ///< -log2 of N(x_T; 0, I)
  Measured volume;    ///< of the change of volume along the flow, and of a level
  std::vector<FlowPoint> points;
  std::vector<int64_t> images;  ///< indices in the data set
  std::vector<double> bits;     ///< the total of each image
};

/// The likelihood of these images of a data set by the probability-flow ODE (Song 2021, "Score-Based
/// Generative Modeling", Eq. 39). With y = x / sqrt(alpha_bar) it is dy/dsigma = eps_hat, solved by
/// Heun's method in sigma; the divergence is integrated in log sigma by the trapezoidal rule. Both
/// are of order 2. eps_hat is not clipped. `denoiser_of`: its denoisers must be differentiable by
/// autograd, with one image's output independent of the others. Collective as measure_likelihood.
OdeLikelihood measure_ode_likelihood(const DenoiserOf& denoiser_of,
                                     const diffusion::Diffusion& diffusion,
                                     const data::Dataset& dataset,
                                     const std::vector<int64_t>& images, const OdeOptions& options,
                                     const dist::World& world = dist::single_process());

/// "t,sigma,divergence,divergence_error", one line per timestep.
std::string to_csv(const OdeLikelihood& likelihood);
/// "image,bits_per_dim", one line per image.
std::string images_to_csv(const OdeLikelihood& likelihood);

}  // namespace ddpm::eval
