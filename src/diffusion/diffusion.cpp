#include "ddpm/diffusion/diffusion.h"

#include "ddpm/diffusion/posterior.h"

#include <cmath>
#include <utility>

#include <torch/types.h>

namespace ddpm::diffusion {
namespace {

double root(double x) { return std::sqrt(x); }
torch::Tensor root(const torch::Tensor& x) { return x.sqrt(); }

// The standard deviation of x_t for images of the given one, from x_t's signal and noise.
template <class Number>
Number deviation_of(const Number& signal, const Number& noise, double data_std) {
  return root(noise * noise + signal * signal * (data_std * data_std));
}

// docs/math.md, "Parameterizations". `weight` reads a table at t: as a [B,1,1,1] tensor if
// every sample has its own t, as a double if the batch has one t. Each division is by a number that
// is positive for every t in 1..T: sqrt(alpha_bar), sqrt(1 - alpha_bar), beta, or x0's weight in
// the posterior mean.
template <class Weight>
Estimate estimate_with(const Parameterization& parameterization, const torch::Tensor& p,
                       const torch::Tensor& x_t, const Weight& weight) {
  const auto signal = weight(Table::kSqrtAlphaBar);
  const auto noise = weight(Table::kSqrtOneMinusAlphaBar);
  switch (parameterization.prediction) {
    case Prediction::kEpsilon:
      return {(x_t - noise * p) / signal, p};
    case Prediction::kX0:
      return {p, (x_t - signal * p) / noise};
    case Prediction::kV:
      return {signal * x_t - noise * p, noise * x_t + signal * p};
    case Prediction::kMu:
      // Directly to eps, not through x0, whose error near t = T is 1/x0_weight times larger. At t =
      // 1 the weights are exactly 1 and 0, so x0_hat is mu itself.
      return {(p - weight(Table::kPosteriorMeanXt) * x_t) / weight(Table::kPosteriorMeanX0),
              (x_t - weight(Table::kSqrtAlpha) * p) * (noise / weight(Table::kBeta))};
    case Prediction::kFlow:
      return {(x_t - noise * p) / (signal + noise), (x_t + signal * p) / (signal + noise)};
    case Prediction::kEdm: {
      const double std = parameterization.data_std;
      const auto deviation = deviation_of(signal, noise, std);
      const auto x = x_t / deviation;
      return {(signal * (std * std) / deviation) * x + (noise * std / deviation) * p,
              (noise / deviation) * x - (signal * std / deviation) * p};
    }
  }
  TORCH_CHECK(false, "unknown prediction");
}

// The network's output [B,C,...] or [B,2C,...] in its halves.
struct Halves {
  torch::Tensor prediction;
  torch::Tensor variance;  // undefined if there is none
};

Halves halves_of(const torch::Tensor& output, const torch::Tensor& like) {
  const int64_t channels = like.size(1);
  Halves halves{output, {}};
  if (output.dim() == like.dim() && output.size(1) == 2 * channels)
    halves = {output.narrow(1, 0, channels), output.narrow(1, channels, channels)};
  TORCH_CHECK(halves.prediction.sizes() == like.sizes(), "the network's output ", output.sizes(),
              " does not go with ", like.sizes());
  return halves;
}

template <class Weight>
Estimate estimate_of(const Parameterization& parameterization, const torch::Tensor& output,
                     const torch::Tensor& x_t, const Weight& weight) {
  const Halves halves = halves_of(output, x_t);
  const auto dtype = x_t.scalar_type();
  Estimate estimate = estimate_with(parameterization, halves.prediction.to(dtype), x_t, weight);
  // The output is in -1..1 (Nichol 2021's code).
  if (halves.variance.defined()) estimate.variance_weight = (halves.variance.to(dtype) + 1) / 2;
  return estimate;
}

}  // namespace

Diffusion::Diffusion(const DiffusionConfig& config)
    : Diffusion(Schedule(config.schedule), config.parameterization()) {}

Diffusion::Diffusion(const Schedule& schedule, const Parameterization& parameterization,
                     LossWeight weight)
    : schedule_(schedule), parameterization_(parameterization), weight_(std::move(weight)) {}

NetworkInput Diffusion::network_input(const torch::Tensor& x_t, const torch::Tensor& t) const {
  if (prediction() != Prediction::kFlow && prediction() != Prediction::kEdm) return {x_t, t - 1};
  const auto wide = torch::empty({1}, torch::dtype(torch::kDouble).device(t.device()));
  const torch::Tensor signal = schedule_.gather(Table::kSqrtAlphaBar, t, wide);
  const torch::Tensor noise = schedule_.gather(Table::kSqrtOneMinusAlphaBar, t, wide);
  const auto scaled = [&](const torch::Tensor& scale) {
    return x_t / scale.to(x_t.scalar_type()).view({-1, 1, 1, 1});
  };
  if (prediction() == Prediction::kFlow) {
    const auto T = static_cast<double>(schedule_.timesteps());
    return {scaled(signal + noise), T * noise / (signal + noise)};
  }
  return {scaled(deviation_of(signal, noise, parameterization_.data_std)),
          (noise / signal).log() / 4};
}

torch::Tensor Diffusion::noised(const torch::Tensor& x0, const torch::Tensor& t,
                                const torch::Tensor& eps) const {
  return schedule_.gather(Table::kSqrtAlphaBar, t, x0) * x0 +
         schedule_.gather(Table::kSqrtOneMinusAlphaBar, t, x0) * eps;
}

torch::Tensor Diffusion::target(const torch::Tensor& x0, const torch::Tensor& eps,
                                const torch::Tensor& x_t, const torch::Tensor& t) const {
  const auto weight = [&](Table table) { return schedule_.gather(table, t, x_t); };
  switch (prediction()) {
    case Prediction::kEpsilon:
      return eps;
    case Prediction::kX0:
      return x0;
    case Prediction::kMu:
      return posterior_mean(schedule_, x0, x_t, t);
    case Prediction::kV:
      return weight(Table::kSqrtAlphaBar) * eps - weight(Table::kSqrtOneMinusAlphaBar) * x0;
    case Prediction::kFlow:
      return eps - x0;
    case Prediction::kEdm: {
      const torch::Tensor signal = weight(Table::kSqrtAlphaBar);
      const torch::Tensor noise = weight(Table::kSqrtOneMinusAlphaBar);
      const double std = parameterization_.data_std;
      const torch::Tensor scale = std * deviation_of(signal, noise, std);
      return (noise / scale) * x0 - (signal * (std * std) / scale) * eps;
    }
  }
  TORCH_CHECK(false, "unknown prediction");
}

torch::Tensor Diffusion::unweighted_loss(const torch::Tensor& output, const torch::Tensor& target) {
  const torch::Tensor prediction = halves_of(output, target).prediction;
  return (prediction.to(target.scalar_type()) - target).square().flatten(1).mean(1);
}

torch::Tensor Diffusion::weighted(const torch::Tensor& unweighted_loss,
                                  const torch::Tensor& t) const {
  if (!weight_) return unweighted_loss;
  return weight_(t).to(unweighted_loss.scalar_type()) * unweighted_loss;
}

Estimate Diffusion::estimate(const torch::Tensor& output, const torch::Tensor& x_t,
                             const torch::Tensor& t) const {
  return estimate_of(parameterization_, output, x_t,
                     [&](Table table) { return schedule_.gather(table, t, x_t); });
}

Estimate Diffusion::estimate(const torch::Tensor& output, const torch::Tensor& x_t,
                             int64_t t) const {
  return estimate_of(parameterization_, output, x_t,
                     [&](Table table) { return schedule_.at(table, t); });
}

torch::Tensor with_mean(const torch::Tensor& output, const torch::Tensor& mean) {
  const int64_t channels = mean.size(1), rest = output.size(1) - channels;
  if (rest == 0) return mean;
  return torch::cat({mean, output.narrow(1, channels, rest).to(mean.scalar_type())}, 1);
}

torch::Tensor implied_eps(const torch::Tensor& x0, const Schedule& schedule,
                          const torch::Tensor& x_t, int64_t t) {
  return (x_t - schedule.at(Table::kSqrtAlphaBar, t) * x0) /
         schedule.at(Table::kSqrtOneMinusAlphaBar, t);
}

}  // namespace ddpm::diffusion
