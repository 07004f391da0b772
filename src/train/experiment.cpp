#include "ddpm/train/experiment.h"

#include "ddpm/base/device.h"
#include "ddpm/base/text.h"
#include "ddpm/data/loader.h"
#include "share.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <future>

#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <torch/cuda.h>
#include <torch/types.h>

namespace ddpm::train {
namespace {

// "6 or 12": the multiples of `parts` on both sides of `number`, which is not a multiple. Only the
// upper one, if the lower one is 0.
std::string nearest_multiples(int64_t number, int64_t parts) {
  const int64_t lower = number / parts * parts;
  return lower > 0 ? fmt::format("{} or {}", lower, lower + parts) : fmt::format("{}", parts);
}

TrainConfig read_train_config(config::Reader& reader) {
  const auto c = config::read<TrainConfig>(reader);
  if (c.deterministic && c.precision == nn::Precision::kTf32)
    reader.fail("deterministic",
                "= true goes with every train.precision but \"tf32\"; use \"fp32\"");
  if (c.objective == Objective::kVlb && c.loss.weighting != diffusion::LossWeighting::kSimple)
    reader.fail("loss_weight",
                "is for loss = \"simple\" or \"hybrid\"; \"vlb\" has its own weights");
  if (c.objective != Objective::kSimple && c.t_sampling == TimestepDrawing::kLogNormal)
    reader.fail("t_sampling",
                "= \"log_normal\" is for loss = \"simple\"; the bound is a sum over all t alike");
  if (c.noise_scale_every > 0 && c.batch_size < 2)
    reader.fail("noise_scale_every",
                "compares parts of a batch: set train.batch_size = 2 or more, or this to 0");
  if (c.batch_size % c.accumulate != 0) {
    reader.fail(
        "batch_size",
        fmt::format("is {}, which is not divisible by {} accumulation rounds; use {}", c.batch_size,
                    c.accumulate, nearest_multiples(c.batch_size, c.accumulate)));
  }
  return c;
}

// train.condition_dropout > 0 gives the network a null condition.
void settle_condition_(Experiment& experiment, config::Document& document) {
  diffusion::ConditionConfig& condition = experiment.unet.condition;
  if (experiment.train.condition_dropout <= 0) return;
  if (!condition.is_set())
    document.section("train").fail(
        "condition_dropout",
        "needs a network with a condition: set model.condition, or leave it out");
  if (condition.null_condition) return;
  condition.null_condition = true;
  document.section("model").settle("null_condition", true);
}

uint64_t free_bytes(const torch::Device& device) {
  return c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).first;
}

// Sends rank 0's bytes to every rank as numbers, which need no GPU. Rank 0's work may take longer
// than the other ranks' time-out, so it reports from time to time that it is alive.
data::ShareBytes sharing(const dist::World& world) {
  return [&world](const std::function<std::vector<uint8_t>()>& make) {
    std::future<std::vector<uint8_t>> work;
    if (world.is_main()) work = std::async(std::launch::async, make);
    const auto done = [&] {
      return !work.valid() ||
             work.wait_for(std::chrono::milliseconds(200)) == std::future_status::ready;
    };
    while (world.from_main({done() ? 1 : 0})[0] == 0) {
    }
    std::vector<uint8_t> bytes;
    world.on_main("look through the data", [&] { bytes = work.get(); });
    bytes.resize(world.from_main({static_cast<int64_t>(bytes.size())})[0]);
    std::vector<int64_t> words((bytes.size() + 7) / 8);
    std::memcpy(words.data(), bytes.data(), bytes.size());
    words = world.from_main(std::move(words));
    std::memcpy(bytes.data(), words.data(), bytes.size());
    return bytes;
  };
}

}  // namespace

void fields(config::Fields& f, RunConfig& c) {
  f("seed", c.seed, {0, int64_t{1} << 53});
  f("device", c.device);
  f("threads", c.threads, {0, 4096});
  f("peer_timeout", c.peer_timeout, {1, 86400});
  f("on_lost_rank", c.on_lost_rank);
  f("min_ranks", c.min_ranks, config::at_least(1));
}

void fields(config::Fields& f, TrainConfig& c) {
  const config::Range<int64_t> one = config::at_least(1), zero = config::at_least(0);
  f("steps", c.steps, one);
  f("batch_size", c.batch_size, one);
  f("accumulate", c.accumulate, one);
  f.two("micro_batch", c.fit_micro_batch, "fixed", "auto");
  f("label_dropout", c.label_dropout, {0.0, 1.0});
  f("condition_dropout", c.condition_dropout, {0.0, 1.0});
  f("self_condition_probability", c.self_condition_probability, {0.0, 1.0});
  f("offset_noise", c.offset_noise, {0.0, 10.0});
  f("noise_coupling", c.noise_coupling);
  f("loss", c.objective);
  f("loss_sigma", c.variance);
  f("loss_weight", c.loss.weighting);
  f("loss_gamma", c.loss.gamma, {0.0, 1e6});
  f("t_sampling", c.t_sampling);
  f("log_sigma_mean", c.log_sigma_mean, {-20.0, 20.0});
  f("log_sigma_std", c.log_sigma_std, {1e-3, 10.0});
  f("recompute", c.recompute);
  f("shard_optimizer", c.shard_optimizer);
  f("precision", c.precision);
  f("deterministic", c.deterministic);
  f.two("cuda_graph", c.cuda_graph, "never", "auto");
  f("log_every", c.log_every, one);
  f("checkpoint_every", c.checkpoint_every, one);
  f("background_saves", c.background_saves);
  f("keep_last", c.keep_last, one);
  f("keep_every", c.keep_every, zero);
  f("sample_every", c.sample_every, zero);
  f("sample_count", c.sample_count, one);
  f("sample_steps", c.sample_steps, one);
  f("eval_every", c.eval_every, zero);
  f("eval_num", c.eval_num, config::at_least(2));
  f("eval_patience", c.eval_patience, zero);
  f("holdout_every", c.holdout_every, one);
  f("max_bad_steps", c.max_bad_steps, one);
  f("noise_scale_every", c.noise_scale_every, zero);
  f("loss_bins", c.loss_bins, {0, 100});
  f("report", c.report);
}

Experiment read_experiment(config::Document& document) {
  Experiment e;
  config::Reader run = document.section("run");
  e.run = config::read<RunConfig>(run);
  config::Reader data = document.section("data");
  e.data = data::read_data_config(data);
  config::Reader model = document.section("model");
  e.unet = nn::read_unet_config(model);
  config::Reader diffusion = document.section("diffusion");
  e.diffusion = diffusion::read_diffusion_config(diffusion);
  config::Reader train = document.section("train");
  e.train = read_train_config(train);
  config::Reader optimizer = document.section("optimizer");
  e.optimizer = config::read<OptimizerConfig>(optimizer);
  config::Reader ema = document.section("ema");
  e.ema = config::read<nn::EmaConfig>(ema);
  // A chain must begin at T, where x_t is pure noise (Lin 2024, Sec. 3.3); `leading` does not.
  const bool edm = e.diffusion.schedule.kind == diffusion::ScheduleKind::kEdm;
  if ((edm || diffusion::ends_in_noise(e.diffusion.schedule)) &&
      !document.section("sample").has("spacing"))
    document.set(edm ? "sample.spacing=linspace" : "sample.spacing=trailing");
  config::Reader sample = document.section("sample");
  e.sample = sample::read_sample_config(sample);
  if (const auto conflict = sample::find_conflict(e.sample, e.diffusion.schedule.timesteps)) {
    sample.fail(conflict->key, conflict->message);
  }
  e.train.sample_steps = std::min(e.train.sample_steps, e.diffusion.schedule.timesteps);
  document.check_all_read();
  return e;
}

data::Split open_data(const Experiment& experiment, config::Document& document,
                      const dist::World& world, const std::filesystem::path& index) {
  const std::shared_ptr<const data::Dataset> whole =
      data::open_dataset(experiment.data, experiment.run.seed,
                         {index, world.size() > 1 ? sharing(world) : data::ShareBytes()});
  const int64_t count = experiment.data.holdout;
  if (count >= whole->size()) {
    document.section("data").fail(
        "holdout", fmt::format("is {}, but there are only {} images; at least one is needed to "
                               "train on",
                               count, whole->size()));
  }
  return data::hold_out(whole, count, experiment.run.seed);
}

void check_shares(const Experiment& experiment, config::Document& document, int64_t ranks) {
  const TrainConfig& train = experiment.train;
  const int64_t parts = ranks * train.accumulate;
  if (train.batch_size % parts == 0) return;
  document.section("train").fail(
      "batch_size",
      fmt::format("is {}, which is not divisible by {} processes x {} accumulation rounds; use {}",
                  train.batch_size, ranks, train.accumulate,
                  nearest_multiples(train.batch_size, parts)));
}

void check_lost_ranks(const Experiment& experiment, config::Document& document, int64_t ranks,
                      const torch::Device& device) {
  const RunConfig& run = experiment.run;
  if (ranks == 1 || run.on_lost_rank == dist::OnLostRank::kStop) return;
  const config::Reader section = document.section("run");
  if (!device.is_cpu()) {
    section.fail("on_lost_rank",
                 fmt::format("= \"shrink\" is for processes on CPUs (gloo), and this one is on {}; "
                             "use \"stop\" and restart the training after a loss",
                             device.str()));
  }
  if (experiment.train.shard_optimizer) {
    section.fail("on_lost_rank",
                 "= \"shrink\" needs all of the optimizer's state on every process, and "
                 "train.shard_optimizer = true divides it; set that to false, or this to \"stop\"");
  }
  if (run.min_ranks > ranks) {
    section.fail("min_ranks", fmt::format("is {}, but only {} processes were started; use {} or "
                                          "fewer",
                                          run.min_ranks, ranks, ranks));
  }
}

data::LoaderOptions loader_options(const Experiment& experiment, const dist::World& world) {
  data::LoaderOptions options;
  options.global_batch = experiment.train.batch_size;
  const Share share = share_of(experiment.train.batch_size, world.rank(), world.size());
  options.batch_size = share.count;
  options.first = share.first;
  options.seed = experiment.run.seed;
  options.workers = experiment.data.workers;
  options.flip = experiment.data.flip;
  options.random_crop = experiment.data.crop == data::Crop::kRandom;
  options.cache_bytes = experiment.data.cache_mb << 20;
  return options;
}

std::unique_ptr<data::BatchSource> open_batches(const Experiment& experiment,
                                                const data::Dataset& dataset,
                                                const torch::Device& device,
                                                const dist::World& world) {
  data::LoaderOptions options = loader_options(experiment, world);
  options.pinned = device.is_cuda();
  const int64_t bytes = data::resident_bytes(dataset, options);
  const data::Resident wish = experiment.data.resident;
  if (wish == data::Resident::kAlways && bytes < 0) {
    throw UsageError(
        "data.resident = \"always\" needs images of one shape, but with data.crop = \"random\" "
        "these keep many; use \"auto\", or data.crop = \"centre\"");
  }
  const bool transports = experiment.train.noise_coupling == NoiseCoupling::kOptimalTransport;
  if (wish == data::Resident::kAlways && device.is_cuda() && transports)
    throw UsageError(
        "data.resident = \"always\" keeps the images on the GPU, and train.noise_coupling = "
        "\"optimal_transport\" compares them on the host; use \"auto\" or \"never\"");
  const bool fits = wish == data::Resident::kAuto && device.is_cuda() && !transports &&
                    bytes >= 0 && static_cast<uint64_t>(bytes) <= free_bytes(device) / 4;
  if (wish != data::Resident::kAlways && !fits)
    return std::make_unique<data::Loader>(dataset, options);
  spdlog::info("keeping the decoded images on {}: {}", device.str(),
               format_bytes(static_cast<uint64_t>(bytes)));
  return std::make_unique<data::ResidentLoader>(dataset, options, device);
}

void resolve_unet(Experiment& experiment, config::Document& document,
                  const data::Dataset& dataset) {
  const data::ImageShape shape = dataset.shape();
  config::Reader model = document.section("model");
  nn::UNetConfig& unet = experiment.unet;
  const bool classes_by_data = unet.classes_by_data;
  const bool drops_labels = experiment.train.label_dropout > 0;
  if (drops_labels && !unet.null_class) {
    unet.null_class = true;
    model.settle("null_class", true);
  }
  if (unet.vector_conditional && dataset.vectors().defined())
    unet.vectors = nn::vector_spec(dataset.vector_names(), dataset.vectors());
  nn::fit_to_images_(unet, {shape.channels, shape.height, shape.width, dataset.class_count()},
                     model);
  settle_condition_(experiment, document);
  if (drops_labels && !unet.class_conditional && !unet.vector_conditional && !classes_by_data)
    document.section("train").fail(
        "label_dropout",
        "needs a class-conditional network: set model.class_conditional = true or, for vectors, "
        "model.vector_conditional = true, or leave it out");
  if (experiment.sample.guidance.weight != 1.0 && !nn::can_be_guided(unet))
    document.section("sample").fail(
        "guidance",
        unet.condition.is_set()
            ? "needs a network with a null condition: set train.condition_dropout = 0.1, or leave "
              "it out"
            : "needs a network with classes or vectors, also trained without them: set "
              "train.label_dropout = 0.1, or leave it out");
}

void resolve_precision(Experiment& experiment, const torch::Device& device) {
  nn::Precision& precision = experiment.train.precision;
  if (precision != nn::Precision::kAuto) return;
  // bfloat16's rounding error is about as large as the difference of "mu" and x_t.
  precision = experiment.diffusion.prediction == diffusion::Prediction::kMu
                  ? nn::Precision::kFp32
                  : nn::precision_on(device, precision);
}

torch::Device rank_device(const std::string& name, const dist::Launch& launch) {
  const torch::Device device = parse_device(name);
  if (launch.single() || device.is_cpu()) return device;
  if (name.starts_with("cuda:") && launch.local_world_size > 1) {
    throw UsageError(fmt::format(
        "device \"{}\" is one GPU, but {} processes are on this machine; use cuda: each "
        "takes its own",
        name, launch.local_world_size));
  }
  if (name.starts_with("cuda:")) return device;
  const auto count = static_cast<int64_t>(torch::cuda::device_count());
  if (count == 1) return device;  // srun may show each process only its own GPU
  if (launch.local_rank >= count) {
    throw UsageError(
        fmt::format("{} processes were started on this machine, which has {} GPUs; start at most "
                    "one a GPU, or use --device cpu",
                    launch.local_world_size, count));
  }
  return torch::Device(torch::kCUDA, static_cast<torch::DeviceIndex>(launch.local_rank));
}

}  // namespace ddpm::train
