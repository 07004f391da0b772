#include "ddpm/train/train_step.h"

#include "augment_pipe.h"
#include "ddpm/base/rng.h"
#include "ddpm/diffusion/image_range.h"
#include "ddpm/diffusion/self_conditioning.h"
#include "ddpm/kernels/elementwise.h"
#include "ddpm/train/loss_uncertainty.h"
#include "ddpm/train/timestep_history.h"
#include "noise_coupling.h"

#include <cmath>
#include <limits>

namespace ddpm::train {

namespace {

// True with probability `share`, a function of (seed, id) and the purpose: bool [B].
torch::Tensor chosen(const StepSettings& settings, const torch::Tensor& ids, double share,
                     Purpose purpose) {
  constexpr int64_t kParts = int64_t{1} << 30;
  const auto parts = static_cast<int64_t>(share * static_cast<double>(kParts));
  torch::Tensor u = torch::empty_like(ids);
  kernels::fill_uniform_int_(u, rng_key(settings.seed, purpose), ids, 1, kParts);
  return u <= parts;
}

// Whether each image is trained without its class or condition, with probability `share`: bool [B].
// One number per image for all shares: guidance leaves out all at once, so training should too.
torch::Tensor is_dropped(const StepSettings& settings, const torch::Tensor& ids, double share) {
  return chosen(settings, ids, share, Purpose::kLabelDropout);
}

// The class of each image; the null class with probability label_dropout (Ho and Salimans 2022,
// Algorithm 1, line 3). Undefined for an unconditional network.
torch::Tensor labels_of(const nn::UNetConfig& network, const StepSettings& settings,
                        const data::Batch& batch, const torch::Tensor& ids) {
  if (!network.class_conditional) return {};
  const torch::Tensor labels = batch.labels.to(settings.device, /*non_blocking=*/true);
  if (!network.null_class || settings.label_dropout <= 0) return labels;
  return torch::where(is_dropped(settings, ids, settings.label_dropout),
                      torch::full_like(labels, network.image.classes), labels);
}

// The vector of each image; none, NaN, for those that lose their class. Undefined for a network that
// reads none.
torch::Tensor vectors_of(const nn::UNetConfig& network, const StepSettings& settings,
                         const data::Batch& batch, const torch::Tensor& ids) {
  if (!network.vector_conditional) return {};
  const torch::Tensor vectors = batch.vectors.to(settings.device, /*non_blocking=*/true);
  if (!network.null_class || settings.label_dropout <= 0) return vectors;
  const torch::Tensor dropped = is_dropped(settings, ids, settings.label_dropout);
  return vectors.masked_fill(dropped.view({-1, 1}), std::numeric_limits<float>::quiet_NaN());
}

// What the network reads of each image's own degradation; zeros with probability
// condition_dropout. Undefined for a network without a condition.
torch::Tensor condition_of(const nn::UNetConfig& network, const StepSettings& settings,
                           const torch::Tensor& x0, const torch::Tensor& ids) {
  if (!network.condition.is_set()) return {};
  const torch::Tensor condition =
      diffusion::condition_input(diffusion::condition_picture(network.condition, x0), x0.size(2),
                                 x0.size(3), x0.scalar_type());
  if (settings.condition_dropout <= 0) return condition;
  const torch::Tensor dropped = is_dropped(settings, ids, settings.condition_dropout);
  return condition.masked_fill(dropped.view({-1, 1, 1, 1}), 0.0);
}

// Augments x0. Returns what the network reads of how; undefined for a network that reads nothing.
torch::Tensor augment_(torch::Tensor& x0, const nn::UNetConfig& network,
                       const StepSettings& settings, const torch::Tensor& ids) {
  const auto exact = torch::dtype(torch::kDouble).device(ids.device());
  torch::Tensor labels;
  if (network.augment_labels) labels = torch::zeros({ids.size(0), nn::kAugmentLabels}, exact);
  if (!settings.augment) return labels;
  const torch::Tensor parameters = draw_augmentation(settings.seed, *settings.augment, ids);
  x0 = augmented(x0, parameters);
  return labels.defined() ? augment_labels(parameters) : labels;
}

// Uniform in 1..high, a function of (seed, id).
torch::Tensor uniform_of(const StepSettings& settings, const torch::Tensor& ids, int64_t high) {
  torch::Tensor drawn = torch::empty_like(ids);
  kernels::fill_uniform_int_(drawn, rng_key(settings.seed, Purpose::kTimestep), ids, 1, high);
  return drawn;
}

// The t whose ln(sigma) is the nearest to a normal number of each sample (Karras 2022, Table 1). With
// an infinite sigma_T, T is drawn as if ln(sigma) went on as below it.
torch::Tensor log_normal_of(const StepSettings& settings, const torch::Tensor& ids) {
  const LogNormalTimes& times = settings.log_normal;
  const torch::Tensor z =
      torch::empty({ids.size(0), 1}, torch::dtype(torch::kDouble).device(ids.device()));
  kernels::fill_normal_(z, rng_key(settings.seed, Purpose::kTimestep), ids);
  return torch::bucketize(times.mean + times.std * z.view({-1}), times.bounds) + 1;
}

}  // namespace

torch::Tensor draw_timesteps(const StepSettings& settings, const torch::Tensor& ids) {
  const int64_t T = settings.diffusion.schedule().timesteps();
  switch (settings.timesteps) {
    case TimestepDrawing::kUniform:
      return uniform_of(settings, ids, T);
    case TimestepDrawing::kAntithetic: {
      const torch::Tensor odd = ids.remainder(2);  // the second of its pair
      const torch::Tensor t = uniform_of(settings, ids - odd, T);
      return torch::where(odd == 1, T + 1 - t, t);
    }
    case TimestepDrawing::kStratified: {
      constexpr int64_t kParts = int64_t{1} << 30;
      const torch::Tensor u = (uniform_of(settings, ids, kParts).to(torch::kDouble) - 0.5) /
                              static_cast<double>(kParts);
      const torch::Tensor place = ids.remainder(settings.batch_size) + u;  // in 0..N
      const double width = static_cast<double>(T) / static_cast<double>(settings.batch_size);
      return (place * width).floor().clamp_max(static_cast<double>(T - 1)).to(torch::kLong) + 1;
    }
    case TimestepDrawing::kLogNormal:
      return log_normal_of(settings, ids);
    case TimestepDrawing::kLossSecondMoment:
      return settings.history->draw(uniform_of(settings, ids, TimestepHistory::kParts),
                                    uniform_of(settings, ids, T));
  }
  TORCH_CHECK(false, "unknown drawing of timesteps");
}

namespace {

// One forward pass of training.
struct Pass {
  torch::Tensor x0, x_t, t;  // line 2 to 4
  torch::Tensor target, output;
  torch::Tensor loss;  // L_simple of each sample, [B]
};

// What the network reads besides x_t and t.
struct Inputs {
  torch::Tensor labels, picture, augment, vectors;
};

torch::Tensor output_of(nn::UNetImpl& unet, const StepSettings& settings, const Pass& p,
                        const Inputs& given, const torch::Tensor& estimate) {
  // A guard of its own for each pass: a cast of a weight without a gradient must not be used again.
  const nn::AutocastGuard autocast(settings.device.type(), settings.precision);
  const diffusion::NetworkInput input = settings.diffusion.network_input(p.x_t, p.t);
  return unet.forward(input.x, input.time, given.labels,
                      nn::whole_condition(unet.config(), input.x, given.picture, estimate),
                      given.augment, given.vectors);
}

// The estimates of a first pass, or zeros, of a self-conditioned network (Chen 2022, Algorithm 1);
// undefined: zeros for all. All images take the pass, so that each step has the same operations.
torch::Tensor estimate_of(nn::UNetImpl& unet, const StepSettings& settings, const Pass& p,
                          const Inputs& given, const torch::Tensor& ids) {
  const double share = settings.self_condition_probability;
  if (!unet.config().self_condition || share <= 0) return {};
  const torch::NoGradGuard no_grad;
  const torch::Tensor estimate = diffusion::own_estimate(
      settings.diffusion, output_of(unet, settings, p, given, {}), p.x_t, p.t);
  const torch::Tensor reads = chosen(settings, ids, share, Purpose::kSelfCondition);
  return torch::where(reads.view({-1, 1, 1, 1}), estimate, torch::zeros_like(estimate));
}

Pass forward(nn::UNetImpl& unet, const StepSettings& settings, const data::Batch& batch) {
  const diffusion::Diffusion& diffusion = settings.diffusion;
  const torch::Tensor ids = batch.ids.to(settings.device, /*non_blocking=*/true);

  Pass p;
  // Line 2: x_0 ~ q(x_0).
  p.x0 = diffusion::to_model_range(batch.images.to(settings.device, /*non_blocking=*/true),
                                   nn::storage_type(settings.precision),
                                   torch::MemoryFormat::ChannelsLast);
  const torch::Tensor augment = augment_(p.x0, unet.config(), settings, ids);
  // Line 3: t ~ Uniform({1, ..., T}).
  p.t = draw_timesteps(settings, ids);
  // Line 4: eps ~ N(0, I).
  const torch::Tensor eps = training_noise(
      settings, p.x0,
      batch.noise_ids.defined() ? batch.noise_ids.to(settings.device, /*non_blocking=*/true) : ids);
  // Line 5: || target - network(x_t, t) ||^2.
  p.x_t = diffusion.noised(p.x0, p.t, eps);
  p.target = diffusion.target(p.x0, eps, p.x_t, p.t);
  const Inputs given{labels_of(unet.config(), settings, batch, ids),
                     condition_of(unet.config(), settings, p.x0, ids), augment,
                     vectors_of(unet.config(), settings, batch, ids)};
  p.output = output_of(unet, settings, p, given, estimate_of(unet, settings, p, given, ids));
  p.loss = diffusion.unweighted_loss(p.output, p.target);
  return p;
}

// The term of L_vlb of each sample, in bits per dimension, [B].
torch::Tensor variational_bits(const StepSettings& settings, const Pass& p,
                               const torch::Tensor& output) {
  const double dimensions = static_cast<double>(p.x0.numel() / p.x0.size(0));
  return diffusion::variational_term(settings.diffusion, settings.variance, /*clip=*/false, output,
                                     p.x0, p.x_t, p.t) /
         (dimensions * std::log(2.0));
}

// L_simple with its weight, [B]; `u`: of a learned weight, or undefined.
torch::Tensor weighted_loss(const StepSettings& settings, const Pass& p, const torch::Tensor& u) {
  const torch::Tensor loss = settings.diffusion.weighted(p.loss, p.t);
  return u.defined() ? LossUncertainty::balanced(loss, u) : loss;
}

// What the gradient is taken of, [B].
torch::Tensor objective_of(const StepSettings& settings, const Pass& p, const torch::Tensor& u) {
  const auto T = static_cast<double>(settings.diffusion.schedule().timesteps());
  switch (settings.objective) {
    case Objective::kSimple:
      return weighted_loss(settings, p, u);
    case Objective::kHybrid: {
      // The bound passes no gradient on to the mean (Nichol 2021, Sec. 3.1).
      const torch::Tensor mean = p.output.narrow(1, 0, p.x0.size(1)).detach();
      const torch::Tensor bits =
          variational_bits(settings, p, diffusion::with_mean(p.output, mean));
      return weighted_loss(settings, p, u) + (0.001 * T * bits).to(p.loss.scalar_type());
    }
    case Objective::kVlb:
      return (T * variational_bits(settings, p, p.output)).to(p.loss.scalar_type());
  }
  TORCH_CHECK(false, "unknown objective");
}

}  // namespace

StepLosses unweighted_losses(nn::UNetImpl& unet, const StepSettings& settings,
                             const data::Batch& batch) {
  const Pass p = forward(unet, settings, batch);
  return {p.loss, p.t};
}

StepLosses accumulate_gradient(nn::UNetImpl& unet, const StepSettings& settings,
                               const data::Batch& batch, double weight) {
  const Pass p = forward(unet, settings, batch);
  const torch::Tensor u = settings.uncertainty ? settings.uncertainty->at(p.t) : torch::Tensor();
  const torch::Tensor objective = objective_of(settings, p, u);
  StepLosses losses{p.loss.detach(), p.t, {}, objective.detach()};
  if (u.defined()) losses.objective = losses.objective - u.detach();
  torch::Tensor drawn = objective;
  if (settings.timesteps == TimestepDrawing::kLossSecondMoment) {
    losses.weight = settings.history->weight(p.t);
    drawn = objective * losses.weight.to(objective.scalar_type());
  }
  (drawn.mean() * weight).backward();  // line 5: the gradient
  return losses;
}

WeightedLosses finite_losses(const StepLosses& losses) {
  const torch::Tensor value = losses.per_sample.to(torch::kDouble);
  const torch::Tensor finite = torch::isfinite(value);
  const torch::Tensor kept = torch::where(finite, value, torch::zeros_like(value));
  const torch::Tensor ones = finite.to(torch::kDouble);
  if (!losses.weight.defined()) return {kept, ones};
  return {kept * losses.weight, ones * losses.weight};
}

data::Batch slice(const data::Batch& batch, int64_t first, int64_t count) {
  const auto rows = [&](const torch::Tensor& t) {
    return t.defined() ? t.narrow(0, first, count) : t;
  };
  return {rows(batch.images), rows(batch.labels), rows(batch.ids), rows(batch.noise_ids),
          rows(batch.vectors)};
}

}  // namespace ddpm::train
