#include "ddpm/eval/likelihood_report.h"

#include "ddpm/base/error.h"
#include "ddpm/data/view.h"
#include "ddpm/diffusion/condition.h"
#include "ddpm/io/file.h"
#include "ddpm/io/image.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

namespace ddpm::eval {
namespace {

namespace fs = std::filesystem;

const char* describe_variance(ModelVariance variance) {
  switch (variance) {
    case ModelVariance::kSmall:
      return "small (beta_tilde)";
    case ModelVariance::kLarge:
      return "large (beta)";
    case ModelVariance::kLearned:
      return "learned";
    case ModelVariance::kAnalytic:
      return "analytic (the optimal one)";
  }
  return "";
}

void expect_enough_calls(const LikelihoodOptions& options, int64_t timesteps) {
  const int64_t jumps = chain_length(options, timesteps);
  if (options.calls == 0 || options.calls >= fewest_calls(jumps)) return;
  if (options.plan.empty())
    throw UsageError(fmt::format(
        "--calls 1 sees t = 1 alone and leaves out the terms of t = 2 to {}; use 2 or more, or 0 "
        "for every t",
        timesteps));
  throw UsageError(fmt::format(
      "--calls 1 sees the last of {} steps alone; use 2 or more, or 0 for every step", jumps));
}

void expect_measurable(const nn::ModelDescription& model, const ReferenceData& data,
                       const LikelihoodOptions& options) {
  expect_enough_calls(options, model.diffusion.schedule.timesteps);
  const nn::ImageSpec& image = model.unet.image;
  if (data.images == nullptr)
    throw UsageError("a likelihood needs images; --reference holds only statistics");
  if (data.images->shape() != data::ImageShape{image.channels, image.height, image.width})
    throw UsageError("the images of --reference and those of the network differ in shape");
  if (model.unet.class_conditional && data.images->class_count() == 0)
    throw UsageError("this network needs the images' classes, and --reference has none");
  if (model.unet.vector_conditional && data.images->vector_names() != model.unet.vectors.names)
    throw UsageError(fmt::format(
        "this network reads a vector of each image ({}), and the images of --reference have {}; "
        "name a config with data.vectors",
        fmt::join(model.unet.vectors.names, ", "),
        data.images->vectors().defined() ? "other columns" : "none"));
  if (options.variance == ModelVariance::kLearned && !model.unet.learned_variance)
    throw UsageError(
        "--variance learned needs a network with model.learned_variance; this one has none");
}

}  // namespace

nn::Given given_of(const nn::UNetConfig& network, const torch::Tensor& labels,
                   const torch::Tensor& x0, const torch::Tensor& vectors) {
  nn::Given given = network.class_conditional ? labels : torch::Tensor();
  if (network.vector_conditional) given.vectors = vectors;
  if (network.condition.is_set())
    given.condition =
        diffusion::condition_input(diffusion::condition_picture(network.condition, x0), x0.size(2),
                                   x0.size(3), x0.scalar_type());
  return given;
}

LikelihoodSubject likelihood_subject(nn::ModelDescription model, const std::string& path,
                                     const std::string& weights_name, ReferenceData data,
                                     int64_t num, const LikelihoodOptions& options) {
  expect_measurable(model, data, options);
  if (model.unet.class_conditional) {
    const data::KnownClasses known{model.unet.image.classes, model.class_names};
    const auto numbers = data::class_numbers(data.images->class_names(), known);
    data.images = data::relabelled(data.images, numbers, known);
  }
  const auto images = representative_indices(data.images->size(), num);
  return {std::move(model), path, weights_name, std::move(data), images};
}

std::string protocol_line(const LikelihoodSubject& s, const LikelihoodOptions& options) {
  const int64_t timesteps = s.model.diffusion.schedule.timesteps;
  const int64_t jumps = chain_length(options, timesteps);
  const std::string chain = options.plan.empty()
                                ? ""
                                : fmt::format("; {} steps of {}, {}, from t = {}", jumps, timesteps,
                                              options.spacing, options.plan.front().t);
  return fmt::format(
      "protocol: {} {} images of {}; {} ({} weights); {}{}; variance {}{}; x0 {}; {} of {} network "
      "calls per image; seed {}",
      s.images.size(), s.data.split, s.data.images->description(), s.path, s.weights_name,
      config::to_string(options.precision), options.deterministic ? ", deterministic" : "",
      describe_variance(options.variance), chain,
      options.clip ? "clamped to [-1,1]" : "not clamped",
      options.calls > 0 ? std::min(options.calls, jumps) : jumps, jumps, options.seed);
}

Likelihood measure_likelihood(const nn::UNet& unet, const LikelihoodSubject& s,
                              const LikelihoodOptions& options, const dist::World& world) {
  const diffusion::Diffusion diffusion(s.model.diffusion);
  const auto denoiser_of = [&](const torch::Tensor& labels, const torch::Tensor& x0,
                               const torch::Tensor& vectors) {
    return nn::make_denoiser(unet, diffusion, options.precision,
                             given_of(s.model.unet, labels, x0, vectors));
  };
  return measure_likelihood(denoiser_of, diffusion, *s.data.images, s.images, options, world);
}

std::string describe_bound(const Likelihood& found) {
  if (found.every_t) return "an upper bound on -log2 p(x), each term with one noise sample";
  return fmt::format(
      "an unbiased estimate of an upper bound on -log2 p(x), from {} of {} terms per image",
      found.terms.size(), found.jumps);
}

std::string to_text(const Likelihood& found) {
  const double rest = found.total.value - found.prior.value - found.decoder.value;
  const std::string error =
      std::isnan(found.total.error) ? "unknown" : fmt::format("{:.4f}", found.total.error);
  return fmt::format(
      "L_vlb    {:>9.4f} +- {} bits/dim, {}\n"
      "  L_T    {:>9.4f}\n"
      "  L_1..  {:>9.4f}\n"
      "  L_0    {:>9.4f}\n",
      found.total.value, error, describe_bound(found), found.prior.value, rest,
      found.decoder.value);
}

void write_likelihood(const fs::path& folder, const Likelihood& found, const std::string& title) {
  io::write_file_atomic(folder / "likelihood.csv", to_csv(found));
  io::write_png(folder / "likelihood.png", draw_likelihood(found, title));
  io::write_png(folder / "rate_distortion.png", draw_rate_distortion(found, title));
}

}  // namespace ddpm::eval
