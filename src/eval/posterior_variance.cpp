#include "ddpm/eval/posterior_variance.h"

#include "ddpm/base/error.h"
#include "ddpm/base/progress.h"
#include "ddpm/base/rng.h"
#include "ddpm/diffusion/schedule.h"
#include "ddpm/io/checksum.h"
#include "ddpm/io/json_text.h"
#include "ddpm/kernels/elementwise.h"
#include "ddpm/sample/sample_config.h"
#include "own_images.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace ddpm::eval {
namespace {

using nlohmann::ordered_json;

constexpr double kTiny = 1e-12;  // of a variance, for its logarithm

// Ascending. Without signal at T, T is left out.
std::vector<int64_t> measured_times(const diffusion::Schedule& schedule, int64_t count) {
  const int64_t last = schedule.timesteps() - (diffusion::has_signal_at_last(schedule) ? 0 : 1);
  sample::SampleConfig config;
  config.steps = std::min(count, last);
  config.spacing = sample::Spacing::kLogSnr;
  std::vector<int64_t> times;
  for (const sample::PlanStep& step : sample::timestep_plan(schedule, config))
    if (step.t <= last) times.insert(times.begin(), step.t);
  return times;
}

// (|a|^2 - |b|^2) / d of each image.
torch::Tensor difference_of_squares(const torch::Tensor& a, const torch::Tensor& b) {
  return (a.to(torch::kDouble).square() - b.to(torch::kDouble).square()).flatten(1).mean(1);
}

// Var(x_0 | x_t) of each image, as measure_posterior_variance says.
torch::Tensor variances(const torch::Tensor& x0, const torch::Tensor& eps,
                        const diffusion::Estimate& estimate, double sigma) {
  if (sigma >= 1) return difference_of_squares(x0, estimate.x0);
  return sigma * sigma * difference_of_squares(eps, estimate.eps);
}

}  // namespace

std::vector<double> PosteriorVariance::at_every_t(const diffusion::Schedule& schedule) const {
  std::vector<double> values{0.0};
  const auto logarithm = [&](size_t i) { return std::log(std::max(variance[i], kTiny)); };
  for (int64_t time = 1; time <= schedule.timesteps(); ++time) {
    const auto above = static_cast<size_t>(std::lower_bound(t.begin(), t.end(), time) - t.begin());
    if (above == t.size() || above == 0 || t[above] == time) {
      values.push_back(variance[std::min(above, t.size() - 1)]);
      continue;
    }
    const double low = diffusion::half_log_snr(schedule, t[above - 1]),
                 high = diffusion::half_log_snr(schedule, t[above]);
    const double share = (diffusion::half_log_snr(schedule, time) - low) / (high - low);
    values.push_back(std::exp((1 - share) * logarithm(above - 1) + share * logarithm(above)));
  }
  return values;
}

PosteriorVariance measure_posterior_variance(const DenoiserOf& denoiser_of,
                                             const diffusion::Diffusion& diffusion,
                                             const data::Dataset& dataset,
                                             const std::vector<int64_t>& images,
                                             const PosteriorVarianceOptions& options,
                                             const dist::World& world) {
  const torch::NoGradGuard no_grad;
  const nn::ArithmeticGuard arithmetic(options.precision, options.deterministic);
  const diffusion::Schedule& schedule = diffusion.schedule();
  PosteriorVariance found{measured_times(schedule, options.times), {}, std::ssize(images)};
  const int64_t k = std::ssize(found.t);
  const OwnImages own(images, options.batch, world);
  const RngKey key = rng_key(options.seed, Purpose::kEstimateNoise);
  torch::Tensor table = torch::zeros({k, std::ssize(images)}, torch::kDouble);
  std::optional<Progress> progress;
  if (world.is_main()) progress.emplace("estimating the variance", own.size() * k);
  own.visit(
      dataset, options.device, nn::storage_type(options.precision),
      [&](const OwnImages::Batch& batch) {
        const diffusion::Denoiser denoiser = denoiser_of(batch.labels, batch.x0, batch.vectors);
        const int64_t b = batch.ids.size(0);
        for (int64_t i = 0; i < k; ++i) {
          const int64_t time = found.t[static_cast<size_t>(i)];
          const torch::Tensor t = torch::full_like(batch.ids, time);
          const torch::Tensor eps = torch::empty_like(batch.x0);
          kernels::fill_normal_(eps, key, batch.ids, static_cast<uint32_t>(i));
          const torch::Tensor x_t = diffusion.noised(batch.x0, t, eps);
          const diffusion::Estimate estimate = diffusion.estimate(denoiser(x_t, t), x_t, time);
          table[i]
              .narrow(0, batch.place, b)
              .copy_(variances(batch.x0, eps, estimate, diffusion::noise_level(schedule, time)));
          if (progress) progress->update(batch.first * k + (i + 1) * b);
        }
      });
  sum_over_ranks_(table, world, options.device);
  for (int64_t i = 0; i < k; ++i)
    found.variance.push_back(std::clamp(table[i].mean().item<double>(), 0.0, 1.0));
  return found;
}

std::string to_json_text(const PosteriorVariance& measured, uint32_t weights_crc32c) {
  ordered_json json{{"what", "mean of Var(x_0 | x_t) by t, for ddpm sample --sigma analytic"},
                    {"weights_crc32c", weights_crc32c},
                    {"images", measured.images},
                    {"t", measured.t},
                    {"variance", measured.variance}};
  json["crc32c"] = io::crc32c(io::json_text(json));
  return io::json_text(json, 1) + "\n";
}

PosteriorVariance parse_posterior_variance(const std::string& text, uint32_t weights_crc32c,
                                           const std::string& source) {
  const char* remedy = "delete it, or run ddpm estimate";
  try {
    ordered_json json = io::parsed_json(text);
    const auto sum = json.at("crc32c").get<uint32_t>();
    json.erase("crc32c");
    if (io::crc32c(io::json_text(json)) != sum)
      throw IoError(source, fmt::format("is damaged (checksum); {}", remedy));
    if (json.at("weights_crc32c").get<uint32_t>() != weights_crc32c)
      throw IoError(source, fmt::format("belongs to other weights; {}", remedy));
    PosteriorVariance found{json.at("t"), json.at("variance"), json.at("images")};
    if (found.t.empty() || found.t.size() != found.variance.size())
      throw IoError(source, fmt::format("is damaged (no variances); {}", remedy));
    return found;
  } catch (const nlohmann::json::exception&) {
    throw IoError(source, fmt::format("is damaged; {}", remedy));
  }
}

}  // namespace ddpm::eval
