#include "ddpm/eval/likelihood.h"

#include "chain_terms.h"
#include "chart.h"
#include "ddpm/base/progress.h"
#include "ddpm/base/rng.h"
#include "ddpm/kernels/elementwise.h"
#include "own_images.h"
#include "rate_distortion.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>
#include <torch/utils.h>

namespace ddpm::eval {
namespace {

struct Stratum {
  int64_t low, high;
  int64_t width() const { return high - low + 1; }
};

// Of the jumps 1..N, {1}, then the others in parts that widen with t, since the terms fall fast:
// the i-th ends near N (i / n)^2.
std::vector<Stratum> strata(int64_t jumps, int64_t calls) {
  std::vector<Stratum> all{{1, 1}};
  const int64_t parts = (calls == 0 ? jumps : std::min(calls, jumps)) - 1;
  const int64_t rest = jumps - 1;
  for (int64_t i = 1; i <= parts; ++i) {
    const double u = static_cast<double>(i) / static_cast<double>(parts);
    const auto end = static_cast<int64_t>(std::floor(static_cast<double>(rest) * u * u + 1e-9));
    const int64_t last = all.back().high;
    all.push_back({last + 1, std::max(last + 1, 1 + end)});
  }
  return all;
}

// One number an image (and part of the jumps), float64.
struct PerImage {
  PerImage(int64_t parts, int64_t images)
      : terms(torch::zeros({parts, images}, torch::kDouble)),
        losses(torch::zeros_like(terms)),
        within(torch::zeros_like(terms)),
        squared_errors(torch::zeros_like(terms)),
        prior(torch::zeros({images}, torch::kDouble)) {}
  void gather_(const dist::World& world, const torch::Device& device) {
    for (torch::Tensor* numbers : {&terms, &losses, &within, &squared_errors, &prior})
      sum_over_ranks_(*numbers, world, device);
  }

  torch::Tensor terms;           // [parts, images]: nats of one t
  torch::Tensor losses;          // [parts, images]: squared error of eps, a dimension
  torch::Tensor within;          // [parts, images]: nats of the part's t above that one
  torch::Tensor squared_errors;  // [parts, images]: of x0_hat, a dimension
  torch::Tensor prior;           // [images]: nats
};

Likelihood summary_of(const PerImage& found, const ChainTerms& chain,
                      const std::vector<Stratum>& parts, double dimensions) {
  const double nats_to_bits = 1.0 / (dimensions * std::log(2.0));
  Likelihood result;
  result.images = found.prior.numel();
  result.jumps = chain.count();
  result.every_t = std::ssize(parts) == chain.count();
  torch::Tensor total = found.prior.clone();
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    const torch::Tensor sum = found.terms[row] * static_cast<double>(parts[i].width());
    total += sum;
    result.terms.push_back({chain.time(parts[i].low), chain.time(parts[i].high), parts[i].width(),
                            mean_of_images(sum * nats_to_bits), mean_of_images(found.losses[row])});
  }
  set_rate_distortion_(result.terms, {found.prior, found.terms, found.within, found.squared_errors},
                       dimensions);
  result.total = mean_of_images(total * nats_to_bits);
  result.prior = mean_of_images(found.prior * nats_to_bits);
  result.decoder = result.terms.front().bits;
  return result;
}

// What the batches of a measurement share.
struct Measurement {
  const diffusion::Diffusion& diffusion;
  const ChainTerms& chain;
  const std::vector<Stratum>& parts;
  bool clip;
  RngKey t_key, noise_key;

  // The numbers of a batch for part i: one random jump of it per image.
  void measure_(PerImage& found, int64_t i, const OwnImages::Batch& batch,
                const diffusion::Denoiser& denoiser) const {
    const torch::Tensor &x0 = batch.x0, &ids = batch.ids;
    const auto k = static_cast<int64_t>(parts.size());
    const torch::Tensor jump = torch::empty_like(ids), eps = torch::empty_like(x0);
    kernels::fill_uniform_int_(jump, t_key, ids * k + i, parts[i].low, parts[i].high);
    kernels::fill_normal_(eps, noise_key, ids, static_cast<uint32_t>(i));
    const torch::Tensor t = chain.times(jump);
    const torch::Tensor x_t = diffusion.noised(x0, t, eps);
    const torch::Tensor output = denoiser(x_t, t);
    const auto row = [&](const torch::Tensor& table) {
      return table[i].narrow(0, batch.place, ids.size(0));
    };
    const torch::Tensor nats = chain.term(output, x0, x_t, jump);
    row(found.terms).copy_(nats);
    // The jump is above so many others of its part: on average, the sum of those above a random one.
    row(found.within).copy_((jump - parts[i].low) * nats);
    const diffusion::Estimate estimate = diffusion.estimate(output, x_t, t);
    row(found.losses).copy_((estimate.eps - eps).square().flatten(1).mean(1));
    const torch::Tensor x0_hat = clip ? estimate.x0.clamp(-1.0, 1.0) : estimate.x0;
    row(found.squared_errors).copy_((x0_hat - x0).square().flatten(1).mean(1));
  }
};

}  // namespace

int64_t chain_length(const LikelihoodOptions& options, int64_t timesteps) {
  return options.plan.empty() ? timesteps : std::ssize(options.plan);
}

int64_t fewest_calls(int64_t jumps) { return jumps == 1 ? 1 : 2; }

torch::Tensor prior_divergence(const diffusion::Schedule& schedule, const torch::Tensor& x0,
                               int64_t t) {
  const double signal = schedule.alpha_bar(t), noise = schedule.one_minus_alpha_bar(t);
  return per_image(0.5 * (signal * x0.to(torch::kDouble).square() + noise - 1.0 - std::log(noise)));
}

Likelihood measure_likelihood(const DenoiserOf& denoiser_of, const diffusion::Diffusion& diffusion,
                              const data::Dataset& dataset, const std::vector<int64_t>& images,
                              const LikelihoodOptions& options, const dist::World& world) {
  const torch::NoGradGuard no_grad;
  const nn::ArithmeticGuard arithmetic(options.precision, options.deterministic);
  const ChainTerms chain(diffusion, options);
  TORCH_CHECK(options.calls == 0 || options.calls >= fewest_calls(chain.count()),
              "too few calls to see every term of the bound");
  const std::vector<Stratum> parts = strata(chain.count(), options.calls);
  const Measurement measurement{diffusion,
                                chain,
                                parts,
                                options.clip,
                                rng_key(options.seed, Purpose::kLikelihoodTimestep),
                                rng_key(options.seed, Purpose::kLikelihoodNoise)};
  const OwnImages own(images, options.batch, world);
  const int64_t k = std::ssize(parts);
  PerImage found(k, std::ssize(images));

  std::optional<Progress> progress;
  if (world.is_main()) progress.emplace("likelihood", own.size() * k);
  const auto report = [&](const OwnImages::Batch& batch, int64_t done) {
    if (!progress) return;
    progress->update(batch.first * k + done * batch.ids.size(0),
                     {.count = fmt::format("{}/{} images", batch.first, own.size()),
                      .detail = fmt::format("time step {}/{}", done, k)});
  };
  own.visit(dataset, options.device, nn::storage_type(options.precision),
            [&](const OwnImages::Batch& batch) {
              const diffusion::Denoiser denoiser =
                  denoiser_of(batch.labels, batch.x0, batch.vectors);
              found.prior.narrow(0, batch.place, batch.ids.size(0)).copy_(chain.prior(batch.x0));
              for (int64_t i = 0; i < k; ++i) {
                measurement.measure_(found, i, batch, denoiser);
                report(batch, i + 1);
              }
            });
  found.gather_(world, options.device);
  const data::ImageShape shape = dataset.shape();
  return summary_of(found, chain, parts,
                    static_cast<double>(shape.channels * shape.height * shape.width));
}

std::string to_csv(const Likelihood& likelihood) {
  std::string text =
      "t_low,t_high,bits_per_dim,bits_error,eps_loss,eps_error,rate,rate_error,distortion,"
      "distortion_error\n";
  for (const LikelihoodTerm& term : likelihood.terms) {
    text += fmt::format("{},{},{:.9g},{:.3g},{:.9g},{:.3g},{:.9g},{:.3g},{:.9g},{:.3g}\n", term.low,
                        term.high, term.bits.value, term.bits.error, term.eps_loss.value,
                        term.eps_loss.error, term.rate.value, term.rate.error,
                        term.distortion.value, term.distortion.error);
  }
  return text;
}

torch::Tensor draw_likelihood(const Likelihood& likelihood, const std::string& title) {
  Curve bits{"bits/dim of one t", {}, {}}, loss{"mean squared error of eps", {}, {}};
  for (const LikelihoodTerm& term : likelihood.terms) {
    const double t = 0.5 * static_cast<double>(term.low + term.high);
    bits.x.push_back(t);
    bits.y.push_back(term.bits.value / static_cast<double>(term.jumps));
    loss.x.push_back(t);
    loss.y.push_back(term.eps_loss.value);
  }
  return draw_chart({bits, loss},
                    {.title = title, .x_label = "t", .y_label = "", .log_x = true, .log_y = true});
}

}  // namespace ddpm::eval
