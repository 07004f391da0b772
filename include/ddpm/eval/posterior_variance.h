#pragma once

#include "ddpm/eval/likelihood.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ddpm::eval {

/// The mean over pixels and data of Var(x_0 | x_t), by t: what the best reverse variance needs (Bao
/// 2022, "Analytic-DPM", Eq. 8). x_0 in [-1,1].
struct PosteriorVariance {
  std::vector<int64_t> t;        ///< ascending, 1..T
  std::vector<double> variance;  ///< at these t, 0..1
  int64_t images = 0;            ///< measured on

  /// At every t = 0..T: linear in lambda between the logarithms; 0 at t = 0.
  std::vector<double> at_every_t(const diffusion::Schedule& schedule) const;
};

struct PosteriorVarianceOptions {
  int64_t times = 50;  ///< timesteps to measure, even in lambda
  uint64_t seed = 0;   ///< of the noise
  int64_t batch = 64;
  torch::Device device = torch::kCPU;
  nn::Precision precision = nn::Precision::kFp32;
  bool deterministic = false;  ///< see nn::ArithmeticGuard
};

/// Estimates, with one noise per image and t, what is Var(x_0 | x_t) if the network is the best
/// possible one: sigma^2 E(|eps|^2 - |eps_hat|^2) / d where sigma < 1 (Bao 2022, Eq. 8), and E(|x_0|^2
/// - |x0_hat|^2) / d elsewhere (the law of total variance). Each has little noise on its side: their
/// difference is a correlation that vanishes for the best network, divided by sqrt(alpha_bar).
/// Collective: each rank measures whole batches in turn; the result is on every rank, the same bits
/// as that of one process.
PosteriorVariance measure_posterior_variance(const DenoiserOf& denoiser_of,
                                             const diffusion::Diffusion& diffusion,
                                             const data::Dataset& dataset,
                                             const std::vector<int64_t>& images,
                                             const PosteriorVarianceOptions& options,
                                             const dist::World& world = dist::single_process());

/// As JSON, with the checksum of the weights it was measured with, and back. `source`: for messages.
std::string to_json_text(const PosteriorVariance& measured, uint32_t weights_crc32c);
/// Throws IoError(source, ...) if the text is damaged or belongs to other weights.
PosteriorVariance parse_posterior_variance(const std::string& text, uint32_t weights_crc32c,
                                           const std::string& source);

}  // namespace ddpm::eval
