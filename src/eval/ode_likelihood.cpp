#include "ddpm/base/progress.h"
#include "ddpm/base/rng.h"
#include "ddpm/diffusion/image_range.h"
#include "ddpm/diffusion/schedule.h"
#include "ddpm/eval/likelihood.h"
#include "ddpm/kernels/elementwise.h"
#include "flow.h"
#include "own_images.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include <fmt/format.h>
#include <torch/utils.h>

namespace ddpm::eval {
namespace {

// Uniform within the level of each pixel, [B,C,H,W] float64 on the CPU.
torch::Tensor uniform_within_levels(const OwnImages::Batch& batch, RngKey key) {
  const torch::Tensor noise = torch::empty(batch.x0.sizes(), torch::kDouble);
  const torch::Tensor ids = batch.ids.cpu();
  for (int64_t i = 0; i < ids.size(0); ++i)
    kernels::fill_uniform_(noise[i], key, static_cast<uint64_t>(ids[i].item<int64_t>()),
                           0.5 / diffusion::kLevelsPerUnit);
  return noise;
}

// What the batches of a measurement share.
struct OdeMeasurement {
  const diffusion::Diffusion& diffusion;
  const OdeOptions& options;
  RngKey noise_key, probe_key;

  double signal(int64_t t) const { return std::sqrt(diffusion.schedule().alpha_bar(t)); }
  double sigma(int64_t t) const { return diffusion::noise_level(diffusion.schedule(), t); }

  // The vectors for the trace at the i-th timestep: new ones at each, so that their errors do not
  // add up along the flow.
  TraceVectors vectors_at(int64_t i, const torch::Tensor& x, const torch::Tensor& ids) const {
    const int64_t probes = options.probes;
    if (probes == 0) return unit_vectors(x);
    return {probes, 1.0 / static_cast<double>(probes), [=, this](int64_t k) {
              const torch::Tensor normal = torch::empty_like(x);
              kernels::fill_normal_(normal, probe_key, ids, static_cast<uint32_t>(i * probes + k));
              return torch::where(normal < 0, -torch::ones_like(x), torch::ones_like(x));
            }};
  }

  // Follows a batch from t = 1 to the last timestep. table: float64 [times + 1, images], whose rows
  // become d(log p) / d(log sigma) at each t, and last log N(x_T; 0, I).
  void measure_(const torch::Tensor& table, const OwnImages::Batch& batch, const Flow& flow,
                const std::function<void(int64_t done)>& report) const {
    const auto row = [&](int64_t i) { return table[i].narrow(0, batch.place, batch.ids.size(0)); };
    torch::Tensor y =
        batch.x0.to(torch::kDouble) + uniform_within_levels(batch, noise_key).to(batch.x0.device());
    Slope at_s;
    for (int64_t i = 0; i < std::ssize(options.times); ++i) {
      const int64_t t = options.times[static_cast<size_t>(i)];
      if (i > 0) {  // Heun's step
        const double h = sigma(t) - sigma(options.times[static_cast<size_t>(i - 1)]);
        const torch::Tensor eps_t = flow.eps(signal(t) * (y + h * at_s.eps), t);
        y = y + 0.5 * h * (at_s.eps + eps_t);
      }
      const torch::Tensor x = signal(t) * y;
      at_s = flow.slope(x, t, vectors_at(i, x, batch.ids));
      row(i).copy_(signal(t) * sigma(t) * at_s.trace);
      report(i + 1);
    }
    const torch::Tensor x = signal(options.times.back()) * y;
    row(std::ssize(options.times))
        .copy_(-0.5 * (x.square() + std::log(2 * M_PI)).flatten(1).sum(1));
  }
};

OdeLikelihood summary_of(const torch::Tensor& table, const OdeMeasurement& measurement,
                         double dimensions) {
  const std::vector<int64_t>& times = measurement.options.times;
  OdeLikelihood result;
  result.calls = 2 * std::ssize(times) - 1;
  // log p of y at t = 1: that of y at T and the integral (docs/math.md).
  torch::Tensor change = torch::full(
      {table.size(1)}, dimensions * std::log(measurement.signal(times.back())), torch::kDouble);
  for (int64_t i = 0; i < std::ssize(times); ++i) {
    const int64_t t = times[static_cast<size_t>(i)];
    result.points.push_back({t, measurement.sigma(t), mean_of_images(table[i] / dimensions)});
    if (i == 0) continue;
    const double step =
        std::log(measurement.sigma(t) / measurement.sigma(times[static_cast<size_t>(i - 1)]));
    change += 0.5 * step * (table[i - 1] + table[i]);
  }
  const double to_bits = -1.0 / (dimensions * std::log(2.0));
  const torch::Tensor prior = to_bits * table[std::ssize(times)];
  // A level is 1 / kLevelsPerUnit wide.
  const torch::Tensor volume = to_bits * change + std::log2(diffusion::kLevelsPerUnit);
  result.prior = mean_of_images(prior);
  result.volume = mean_of_images(volume);
  const torch::Tensor total = (prior + volume).contiguous();
  result.total = mean_of_images(total);
  result.bits.assign(total.const_data_ptr<double>(),
                     total.const_data_ptr<double>() + total.numel());
  return result;
}

void expect_times(const std::vector<int64_t>& times, const diffusion::Schedule& schedule) {
  const bool ascends =
      std::adjacent_find(times.begin(), times.end(), std::greater_equal<>()) == times.end();
  TORCH_CHECK(
      !times.empty() && times.front() >= 1 && times.back() <= schedule.timesteps() && ascends,
      "the flow's timesteps must ascend within 1..T");
  TORCH_CHECK(schedule.alpha_bar(times.back()) > 0, "the flow must end where there is signal");
}

}  // namespace

std::vector<int64_t> flow_times(const diffusion::Schedule& schedule,
                                const std::vector<sample::PlanStep>& plan) {
  const int64_t last = schedule.timesteps() - (diffusion::has_signal_at_last(schedule) ? 0 : 1);
  std::vector<int64_t> times{1};
  for (size_t i = plan.size(); i-- > 0;)
    if (plan[i].t > 1 && plan[i].t < last) times.push_back(plan[i].t);
  if (last > 1) times.push_back(last);
  return times;
}

OdeLikelihood measure_ode_likelihood(const DenoiserOf& denoiser_of,
                                     const diffusion::Diffusion& diffusion,
                                     const data::Dataset& dataset,
                                     const std::vector<int64_t>& images, const OdeOptions& options,
                                     const dist::World& world) {
  expect_times(options.times, diffusion.schedule());
  const torch::NoGradGuard no_grad;
  const nn::ArithmeticGuard arithmetic(options.precision, options.deterministic);
  const OdeMeasurement measurement{diffusion, options,
                                   rng_key(options.seed, Purpose::kDequantisation),
                                   rng_key(options.seed, Purpose::kTraceProbe)};
  const OwnImages own(images, options.batch, world);
  const int64_t k = std::ssize(options.times);
  torch::Tensor table = torch::zeros({k + 1, std::ssize(images)}, torch::kDouble);
  std::optional<Progress> progress;
  if (world.is_main()) progress.emplace("likelihood", own.size() * k);
  own.visit(dataset, options.device, nn::storage_type(options.precision),
            [&](const OwnImages::Batch& batch) {
              const Flow flow(denoiser_of(batch.labels, batch.x0, batch.vectors), diffusion);
              measurement.measure_(table, batch, flow, [&](int64_t done) {
                if (!progress) return;
                progress->update(batch.first * k + done * batch.ids.size(0),
                                 {.count = fmt::format("{}/{} images", batch.first, own.size()),
                                  .detail = fmt::format("time step {}/{}", done, k)});
              });
            });
  sum_over_ranks_(table, world, options.device);
  const data::ImageShape shape = dataset.shape();
  OdeLikelihood result = summary_of(
      table, measurement, static_cast<double>(shape.channels * shape.height * shape.width));
  result.images = images;
  return result;
}

std::string to_csv(const OdeLikelihood& likelihood) {
  std::string text = "t,sigma,divergence,divergence_error\n";
  for (const FlowPoint& point : likelihood.points)
    text += fmt::format("{},{:.9g},{:.9g},{:.3g}\n", point.t, point.sigma, point.divergence.value,
                        point.divergence.error);
  return text;
}

std::string images_to_csv(const OdeLikelihood& likelihood) {
  std::string text = "image,bits_per_dim\n";
  for (size_t i = 0; i < likelihood.bits.size(); ++i)
    text += fmt::format("{},{:.9g}\n", likelihood.images[i], likelihood.bits[i]);
  return text;
}

}  // namespace ddpm::eval
