#include "ddpm/train/experiment.h"

#include <algorithm>

#include <fmt/format.h>
#include <torch/cuda.h>
#include <torch/types.h>

namespace ddpm::train {
namespace {

RunConfig read_run_config(config::Reader reader) {
  RunConfig c;
  c.seed = static_cast<uint64_t>(reader.integer("seed", 0, {0, int64_t{1} << 53}));
  c.device = reader.text("device", c.device);
  c.threads = reader.integer("threads", c.threads, {0, 4096});
  return c;
}

TrainConfig read_train_config(config::Reader reader) {
  TrainConfig c;
  const auto at_least = [](int64_t low) { return config::at_least(low); };
  c.steps = reader.integer("steps", c.steps, at_least(1));
  c.batch_size = reader.integer("batch_size", c.batch_size, at_least(1));
  c.accumulate = reader.integer("accumulate", c.accumulate, at_least(1));
  c.precision = nn::parse_precision(
      reader.choice("precision", nn::to_string(c.precision), nn::precision_names()));
  c.log_every = reader.integer("log_every", c.log_every, at_least(1));
  c.checkpoint_every = reader.integer("checkpoint_every", c.checkpoint_every, at_least(1));
  c.keep_last = reader.integer("keep_last", c.keep_last, at_least(1));
  c.keep_every = reader.integer("keep_every", c.keep_every, at_least(0));
  c.sample_every = reader.integer("sample_every", c.sample_every, at_least(0));
  c.sample_count = reader.integer("sample_count", c.sample_count, at_least(1));
  c.sample_steps = reader.integer("sample_steps", c.sample_steps, at_least(1));
  c.holdout_every = reader.integer("holdout_every", c.holdout_every, at_least(1));
  c.max_bad_steps = reader.integer("max_bad_steps", c.max_bad_steps, at_least(1));
  if (c.batch_size % c.accumulate != 0) {
    const int64_t lower = c.batch_size / c.accumulate * c.accumulate;
    reader.fail("batch_size",
                fmt::format("is {}, which is not divisible by {} accumulation rounds; use {}",
                            c.batch_size, c.accumulate,
                            lower > 0 ? fmt::format("{} or {}", lower, lower + c.accumulate)
                                      : fmt::format("{}", c.accumulate)));
  }
  return c;
}

}  // namespace

Experiment read_experiment(config::Document& document) {
  Experiment e;
  e.run = read_run_config(document.section("run"));
  config::Reader data = document.section("data");
  e.data = data::read_data_config(data);
  config::Reader model = document.section("model");
  e.unet = nn::read_unet_config(model, std::nullopt);
  config::Reader diffusion = document.section("diffusion");
  e.diffusion = diffusion::read_diffusion_config(diffusion);
  config::Reader train = document.section("train");
  e.train = read_train_config(train);
  config::Reader optimizer = document.section("optimizer");
  e.optimizer = read_optimizer_config(optimizer);
  config::Reader ema = document.section("ema");
  e.ema = nn::read_ema_config(ema);
  config::Reader sample = document.section("sample");
  e.sample = sample::read_sample_config(sample);
  if (const auto conflict = sample::find_conflict(e.sample, e.diffusion.schedule.timesteps)) {
    sample.fail(conflict->key, conflict->message);
  }
  e.train.sample_steps = std::min(e.train.sample_steps, e.diffusion.schedule.timesteps);
  document.check_all_read();
  return e;
}

data::Split open_data(const Experiment& experiment, config::Document& document) {
  std::shared_ptr<const data::Dataset> whole =
      data::open_dataset(experiment.data, experiment.run.seed);
  const int64_t count = experiment.data.holdout;
  if (count >= whole->size()) {
    document.section("data").fail(
        "holdout", fmt::format("is {}, but there are only {} images; at least one is needed to "
                               "train on",
                               count, whole->size()));
  }
  return data::hold_out(std::move(whole), count, experiment.run.seed);
}

data::LoaderOptions loader_options(const Experiment& experiment) {
  data::LoaderOptions options;
  options.batch_size = experiment.train.batch_size;
  options.seed = experiment.run.seed;
  options.workers = experiment.data.workers;
  options.flip = experiment.data.flip;
  options.random_crop = experiment.data.crop == data::Crop::kRandom;
  options.cache_bytes = experiment.data.cache_mb << 20;
  return options;
}

void resolve_unet(Experiment& experiment, config::Document& document,
                  const data::Dataset& dataset) {
  const data::ImageShape shape = dataset.shape();
  config::Reader model = document.section("model");
  experiment.unet = nn::read_unet_config(
      model, nn::ImageSpec{shape.channels, shape.height, shape.width, dataset.class_count()});
}

torch::Device parse_device(const std::string& name) {
  if (name == "auto")
    return torch::cuda::is_available() ? torch::Device(torch::kCUDA, 0) : torch::kCPU;
  if (name == "cpu") return torch::kCPU;
  int64_t index = 0;
  const bool numbered = name.starts_with("cuda:") && name.size() > 5 && name.size() < 9 &&
                        name.find_first_not_of("0123456789", 5) == std::string::npos;
  if (numbered) index = std::stoll(name.substr(5));
  if (name != "cuda" && !numbered) {
    throw UsageError(fmt::format("device \"{}\" is unknown; use auto, cpu, cuda or cuda:N", name));
  }
  const auto count = static_cast<int64_t>(torch::cuda::device_count());
  if (index >= count) {
    throw UsageError(fmt::format("device \"{}\" is not there: {}; use auto or cpu", name,
                                 count == 0
                                     ? "no usable CUDA GPU was found"
                                     : fmt::format("the GPUs are cuda:0 to cuda:{}", count - 1)));
  }
  return torch::Device(torch::kCUDA, static_cast<torch::DeviceIndex>(index));
}

}  // namespace ddpm::train
