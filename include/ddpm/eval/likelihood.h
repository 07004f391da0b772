#pragma once

#include "ddpm/diffusion/diffusion.h"
#include "ddpm/dist/world.h"
#include "ddpm/eval/images.h"
#include "ddpm/eval/jackknife.h"
#include "ddpm/nn/precision.h"
#include "ddpm/sample/timestep_plan.h"

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// The variance of p(x_s | x_t), where s = t - 1 or the jump's end. The last jump, to s = 0, has
/// beta_tilde of the jump before it if the variance is fixed, as in Ho's code (beta_tilde_2), since
/// its own is 0.
enum class ModelVariance {
  kSmall,    ///< beta_tilde
  kLarge,    ///< beta
  kLearned,  ///< interpolated by the network (Nichol 2021, Eq. 15)
  /// The optimal one (Bao 2022, Eq. 8). Of the last jump it is Var(x_0 | x_t), or that of a pixel
  /// within its level, (2/255)^2 / 12, if that is larger.
  kAnalytic,
};
constexpr auto names_of(ModelVariance) {
  return std::array{"small", "large", "learned", "analytic"};
}

struct LikelihoodOptions {
  ModelVariance variance = ModelVariance::kSmall;
  bool clip = true;  ///< clamp x0_hat to [-1,1], as Ho's and Nichol's code do
  /// The jumps of the chain, in the order of sampling. Empty: all T.
  std::vector<sample::PlanStep> plan = {};
  std::string spacing = {};  ///< of the plan, for people
  /// Var(x_0 | x_t) by t = 0..T, for kAnalytic (PosteriorVariance::at_every_t).
  std::vector<double> posterior_variance = {};
  /// Network calls per image; 0: every jump. Else the last jump and one random one from each of
  /// calls - 1 parts of the others, which are narrow at small t: unbiased. 1 sees only the last:
  /// valid only if there is no other.
  int64_t calls = 0;
  uint64_t seed = 0;  ///< of t and noise
  int64_t batch = 64;
  torch::Device device = torch::kCPU;
  /// Arithmetic and input type of the network.
  nn::Precision precision = nn::Precision::kFp32;
  bool deterministic = false;  ///< see nn::ArithmeticGuard
};

/// The number of jumps of the chain, each a term of the bound.
int64_t chain_length(const LikelihoodOptions& options, int64_t timesteps);
/// The minimum number of calls that see every term of the bound of a chain of so many jumps.
int64_t fewest_calls(int64_t jumps);

/// KL(q(x_t | x_0) || N(0,I)) of each image (Ho 2020, Eq. 5, L_T), where t is the chain's first:
/// nats, float64 [B].
torch::Tensor prior_divergence(const diffusion::Schedule& schedule, const torch::Tensor& x0,
                               int64_t t);

/// The sum of the terms of the jumps from t in low..high.
struct LikelihoodTerm {
  int64_t low = 1, high = 1;
  int64_t jumps = 1;  ///< so many
  Measured bits;      ///< bits per dimension
  Measured eps_loss;  ///< mean squared error of eps_hat (before clipping), per dimension
  /// What a receiver of x_t has paid, in bits per dimension: the prior and the terms of larger t
  /// (Ho 2020, Sec. 4.3). Of a random t of the part, as is the distortion.
  Measured rate = {};
  Measured distortion = {};  ///< root mean squared error of x0_hat, in levels of 0..255
};

/// The variational bound on -log2 p(x_0), per dimension (a pixel's channel). Estimated with one
/// noise sample per image and t and, if calls are fewer than jumps, one t per part. Errors: standard
/// errors of the mean over images, which include this randomness; NaN for a single image.
struct Likelihood {
  int64_t images = 0;
  int64_t jumps = 0;                  ///< of the chain
  bool every_t = false;               ///< every jump was evaluated
  Measured total;                     ///< prior + all terms
  Measured prior;                     ///< L_T
  Measured decoder;                   ///< L_0, also the first of `terms`
  std::vector<LikelihoodTerm> terms;  ///< by t, ascending
};

/// Makes the denoiser of a batch with these labels, int64 [B], images x0 [B,C,H,W], whose
/// conditions the network may read, and vectors [B,D], undefined if the data has none.
using DenoiserOf = std::function<diffusion::Denoiser(
    const torch::Tensor& labels, const torch::Tensor& x0, const torch::Tensor& vectors)>;

/// The bound on these images of a data set (Ho 2020, Sec. 4.2; values are levels of 0..255). The
/// ranks of `world` measure whole batches in turn; the result is on every rank, the same bits as
/// that of a single process.
Likelihood measure_likelihood(const DenoiserOf& denoiser_of, const diffusion::Diffusion& diffusion,
                              const data::Dataset& dataset, const std::vector<int64_t>& images,
                              const LikelihoodOptions& options,
                              const dist::World& world = dist::single_process());

/// "t_low,t_high,bits_per_dim,bits_error,eps_loss,eps_error,rate,rate_error,distortion,
/// distortion_error", one line per term.
std::string to_csv(const Likelihood& likelihood);
/// Bits and loss per single t, against t: uint8 [3,H,W].
torch::Tensor draw_likelihood(const Likelihood& likelihood, const std::string& title);
/// Distortion against rate (Ho 2020, Fig. 5): uint8 [3,H,W].
torch::Tensor draw_rate_distortion(const Likelihood& likelihood, const std::string& title);

// The likelihood by the flow (docs/math.md, Section 19).

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
