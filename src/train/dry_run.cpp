#include "ddpm/train/dry_run.h"

#include "ddpm/base/clock.h"
#include "ddpm/base/error.h"
#include "ddpm/data/loader.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/train/learner.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include <fmt/format.h>
#include <torch/cuda.h>
#include <torch/utils.h>

namespace ddpm::train {
namespace {

using Clock = std::chrono::steady_clock;

void wait_for(const torch::Device& device) {
  if (device.is_cuda()) torch::cuda::synchronize(device.index());
}

// The size of a checkpoint's tensors: weights, EMA weights, and Adam's two moments.
uint64_t checkpoint_bytes(const Experiment& experiment, const nn::UNet& unet) {
  uint64_t bytes = 0;
  for (const torch::Tensor& p : unet->parameters()) bytes += p.nbytes();
  return bytes * (3 + experiment.ema.decays.size() + experiment.ema.power_lengths.size());
}

double time_forward(const Experiment& experiment, Learner& learner, const torch::Device& device) {
  const nn::ImageSpec& image = experiment.unet.image;
  const auto options = torch::dtype(nn::storage_type(experiment.train.precision)).device(device);
  const int64_t count = std::min(experiment.sample.batch, experiment.train.sample_count);
  const torch::Tensor x = torch::zeros({count, image.channels, image.height, image.width}, options);
  const torch::Tensor t = torch::ones({count}, torch::dtype(torch::kLong).device(device));
  const torch::Tensor labels =
      experiment.unet.class_conditional ? torch::zeros_like(t) : torch::Tensor();
  learner.unet()->eval();
  const auto denoiser =
      nn::make_denoiser(learner.unet(), learner.settings().diffusion, experiment.train.precision,
                        {labels,
                         nn::no_condition(experiment.unet, count, options),
                         {},
                         nn::no_vectors(experiment.unet, count, device)});
  denoiser(x, t);  // warm-up
  wait_for(device);
  const auto begin = Clock::now();
  denoiser(x, t);
  wait_for(device);
  const double seconds = seconds_since(begin);
  learner.unet()->train();
  return seconds;
}

}  // namespace

DryRunReport dry_run(const Experiment& experiment, const data::Dataset& dataset,
                     const torch::Device& device, const Preparation& prepare, int64_t steps,
                     double budget_s) {
  const auto begin = Clock::now();
  DryRunReport report;
  Learner learner(experiment, device);
  if (prepare) prepare(learner);
  report.micro_batch = experiment.train.fit_micro_batch
                           ? learner.fit_micro_batch_()
                           : experiment.train.batch_size / experiment.train.accumulate;
  report.parameters = nn::parameter_count(*learner.unet());
  report.buckets = count_buckets(learner.unet()->parameters());
  report.checkpoint_bytes = checkpoint_bytes(experiment, learner.unet());
  report.snapshot_bytes = experiment.ema.power_lengths.size() * sizeof(c10::Half) *
                          static_cast<uint64_t>(report.parameters);
  const auto loader = open_batches(experiment, dataset, device);

  const auto reading = Clock::now();
  data::Batch batch = loader->next();
  report.batch_s = seconds_since(reading);

  std::vector<double> times;
  for (int64_t step = 1; step <= 1 + steps; ++step) {
    const auto start = Clock::now();
    learner.step_(batch, step);
    wait_for(device);
    (step == 1 ? report.first_step_s : times.emplace_back()) = seconds_since(start);
    if (step > 1 && seconds_since(begin) > budget_s) break;
    batch = loader->next();
  }
  std::sort(times.begin(), times.end());
  report.timed_steps = static_cast<int64_t>(times.size());
  report.step_s = times[times.size() / 2];
  report.slowest_step_s = times.back();
  const MetricsReading metrics = learner.metrics().read();
  report.loss = metrics.loss;
  if (metrics.skipped > 0) {
    throw Error(
        fmt::format("{} of {} steps had a gradient that is not finite; lower optimizer.lr "
                    "or use train.precision = \"fp32\"",
                    metrics.skipped, report.timed_steps + 1));
  }
  report.memory_mib = peak_memory_mib(device);
  report.forward_s = time_forward(experiment, learner, device);
  return report;
}

double predicted_seconds(const DryRunReport& report, const Experiment& experiment, int64_t step) {
  const TrainConfig& train = experiment.train;
  const auto steps = static_cast<double>(std::max<int64_t>(0, train.steps - step));
  double seconds = steps * report.step_s;
  if (train.sample_every > 0) {
    const int64_t batch = std::min(experiment.sample.batch, train.sample_count);
    const int64_t batches = (train.sample_count + batch - 1) / batch;
    const auto networks = static_cast<double>(1 + experiment.ema.decays.size());
    seconds += steps / static_cast<double>(train.sample_every) * networks *
               static_cast<double>(batches * train.sample_steps) * report.forward_s;
  }
  return seconds;
}

}  // namespace ddpm::train
