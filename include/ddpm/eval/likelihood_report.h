#pragma once

#include "ddpm/dist/world.h"
#include "ddpm/eval/evaluator.h"
#include "ddpm/eval/likelihood.h"
#include "ddpm/nn/model_file.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace ddpm::eval {

/// What a network reads of images besides x_t: their labels, int64 [B], if it has classes, their
/// vectors [B,D], if it reads some, and the conditions made from x0 [B,C,H,W], if it has a condition.
nn::Given given_of(const nn::UNetConfig& network, const torch::Tensor& labels,
                   const torch::Tensor& x0, const torch::Tensor& vectors);

/// A trained network and the images that its bound is measured on.
struct LikelihoodSubject {
  nn::ModelDescription model;
  std::string path, weights_name;  ///< where the network is from, for people
  ReferenceData data;
  std::vector<int64_t> images;  ///< indices of data.images
};

/// `num` representative images of `data`, with their classes numbered as the network numbers them.
/// Throws UsageError if network, images and options do not fit.
LikelihoodSubject likelihood_subject(nn::ModelDescription model, const std::string& path,
                                     const std::string& weights_name, ReferenceData data,
                                     int64_t num, const LikelihoodOptions& options);

/// "protocol: ...": everything that the number depends on.
std::string protocol_line(const LikelihoodSubject& subject, const LikelihoodOptions& options);

/// The bound of that network, with its weights in `unet`. Collective.
Likelihood measure_likelihood(const nn::UNet& unet, const LikelihoodSubject& subject,
                              const LikelihoodOptions& options,
                              const dist::World& world = dist::single_process());

/// What the number is: a bound, or an estimate of one.
std::string describe_bound(const Likelihood& likelihood);

/// The bound and its parts for people, one line each.
std::string to_text(const Likelihood& likelihood);

/// Writes likelihood.csv, likelihood.png and rate_distortion.png.
void write_likelihood(const std::filesystem::path& folder, const Likelihood& likelihood,
                      const std::string& title);

// The same of the likelihood by the probability-flow ODE. Gradients of the weights cost time: switch
// them off before.

std::string protocol_line(const LikelihoodSubject& subject, const OdeOptions& options);
OdeLikelihood measure_ode_likelihood(const nn::UNet& unet, const LikelihoodSubject& subject,
                                     const OdeOptions& options,
                                     const dist::World& world = dist::single_process());
std::string to_text(const OdeLikelihood& likelihood);
/// Writes ode_likelihood.csv and ode_images.csv.
void write_likelihood(const std::filesystem::path& folder, const OdeLikelihood& likelihood);

}  // namespace ddpm::eval
