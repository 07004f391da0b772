#pragma once

#include "ddpm/config/names.h"
#include "ddpm/data/loader.h"
#include "ddpm/diffusion/diffusion.h"
#include "ddpm/diffusion/variational.h"
#include "ddpm/nn/precision.h"
#include "ddpm/nn/unet.h"

#include <array>
#include <memory>
#include <optional>

#include <torch/types.h>

namespace ddpm::train {

class LossUncertainty;
class TimestepHistory;

/// How a batch's timesteps are drawn. For the first three each t is uniform on 1..T; they differ in
/// how the t of one batch depend on each other.
enum class TimestepDrawing {
  kUniform,     ///< "uniform": independent (Ho 2020, Algorithm 1)
  kAntithetic,  ///< "antithetic": in pairs t, T + 1 - t (Song 2021's code)
  kStratified,  ///< "stratified": one in each of the N equal parts of 1..T, for a batch of N
  /// "log_normal": ln(sigma_t) is normal, up to the distance of two t (Karras 2022, Table 1). Since
  /// ln(sigma) = logit(tau) on the straight path, it is the logit-normal tau of Esser 2024 there.
  kLogNormal,
  /// "loss_second_moment": by importance, with weights that keep the mean (Nichol 2021, Eq. 18)
  kLossSecondMoment,
};

/// The distribution of kLogNormal.
struct LogNormalTimes {
  double mean = -1.2, std = 1.2;  ///< of ln(sigma)
  torch::Tensor bounds = {};      ///< diffusion::log_sigma_bounds, on the device
};
constexpr auto names_of(TimestepDrawing) {
  return std::array{"uniform", "antithetic", "stratified", "log_normal", "loss_second_moment"};
}

/// What training minimises.
enum class Objective {
  kSimple,  ///< "simple": L_simple with its weight (Ho 2020, Eq. 14)
  /// "hybrid": L_simple + 0.001 L_vlb (Nichol 2021, Sec. 3.1), for a network with a learned variance;
  /// L_vlb reaches the variance alone. As in their code, L_vlb is in bits per dimension and its T
  /// terms count as 1000.
  kHybrid,
  kVlb,  ///< "vlb": L_vlb in bits per dimension (Ho 2020, Eq. 5), without its constant prior term
};
constexpr auto names_of(Objective) { return std::array{"simple", "hybrid", "vlb"}; }

/// A step's inputs besides the network and the batch.
struct StepSettings {
  diffusion::Diffusion diffusion;
  nn::Precision precision = nn::Precision::kFp32;
  torch::Device device = torch::kCPU;
  uint64_t seed = 0;
  /// The probability that a self-conditioned network reads its own estimate of an image, of a first
  /// pass without gradient; else it reads zeros.
  double self_condition_probability = 0.5;
  /// The probability that an image gets the null class and no vector.
  double label_dropout = 0.0;
  /// The probability that an image gets no condition. One number of each image decides both: with
  /// equal probabilities the same images lose both.
  double condition_dropout = 0.0;
  /// Deviation of the number that is added to all of eps in a channel of an image (offset noise,
  /// Guttenberg 2023): eps ~ N(0, I + offset_noise^2 1 1^T) in each channel. 0: Ho's eps.
  double offset_noise = 0.0;
  /// The probability of each transformation of the images (draw_augmentation); none: no change.
  std::optional<double> augment = {};
  TimestepDrawing timesteps = TimestepDrawing::kUniform;
  int64_t batch_size = 1;  ///< images per update over all processes, for kStratified
  LogNormalTimes log_normal = {};
  Objective objective = Objective::kSimple;
  /// Of kHybrid and kVlb.
  diffusion::ModelVariance variance = diffusion::ModelVariance::kSmall;
  std::shared_ptr<const TimestepHistory> history = {};      ///< of kLossSecondMoment, else none
  std::shared_ptr<const LossUncertainty> uncertainty = {};  ///< of a learned weight, else none
};

/// The losses of a batch, on the device.
struct StepLosses {
  torch::Tensor per_sample;  ///< L_simple of each sample, [B]
  torch::Tensor t;           ///< int64 [B], 1..T
  /// 1 / (T p_t) of a t that is not drawn uniformly, float64 [B]; undefined: 1
  torch::Tensor weight = {};
  /// What the gradient was taken of, without `weight` and without the term u(t) of a learned
  /// weight, which has no part in the network's gradient, [B]. Of accumulate_gradient.
  torch::Tensor objective = {};
};

/// Losses and their weights in a mean over uniform t, float64 [B]. Both are 0 where a loss is not
/// finite.
struct WeightedLosses {
  torch::Tensor losses;  ///< times their weights
  torch::Tensor weights;
};
WeightedLosses finite_losses(const StepLosses& losses);

/// t int64 [B] in 1..T of the samples `ids`, int64 [B]: each a function of (seed, id) and, if there
/// is one, the history alone, so that neither processes nor accumulation change it. Batches begin
/// at multiples of batch_size.
torch::Tensor draw_timesteps(const StepSettings& settings, const torch::Tensor& ids);

/// L_simple of each sample of a batch, without the weight w(t) of training. t, noise and dropped
/// labels depend only on (seed, batch.ids). Builds the autograd graph of the network's parameters if
/// gradients are enabled. No host sync.
StepLosses unweighted_losses(nn::UNetImpl& unet, const StepSettings& settings,
                             const data::Batch& batch);

/// Algorithm 1, lines 2 to 5 (Ho 2020): adds the gradient of weight * (mean of the objective, for
/// kSimple Diffusion::weighted) on one batch to the parameters' gradients, also to those of a
/// learned weight. Returns L_simple. No host sync.
StepLosses accumulate_gradient(nn::UNetImpl& unet, const StepSettings& settings,
                               const data::Batch& batch, double weight);

/// Samples first .. first + count - 1 of a batch.
data::Batch slice(const data::Batch& batch, int64_t first, int64_t count);

}  // namespace ddpm::train
