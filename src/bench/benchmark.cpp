#include "ddpm/bench/benchmark.h"

#include "convolutions.h"
#include "ddpm/base/device_graph.h"
#include "ddpm/checkpoint/content.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/sample/generate.h"
#include "ddpm/train/learner.h"
#include "scratch_folder.h"

#include <algorithm>
#include <filesystem>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <unistd.h>

namespace ddpm::bench {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSampleSteps = 10;

// The temporary folder of this process.
fs::path scratch_folder() {
  return fs::temp_directory_path() / fmt::format("ddpm-bench-{}", getpid());
}

// Measures the parts of one experiment with one network.
class Benchmark {
 public:
  Benchmark(const train::Experiment& experiment, const data::Split& data,
            const torch::Device& device, const Options& options)
      : experiment_(experiment),
        data_(data),
        device_(device),
        options_(options),
        learner_(experiment, device),
        batch_(train::open_batches(experiment, *data.training, device)->next()) {
    const nn::ImageSpec& image = experiment.unet.image;
    const auto type = nn::storage_type(experiment.train.precision);
    x_ = torch::zeros({experiment.train.batch_size, image.channels, image.height, image.width},
                      torch::dtype(type).device(device))
             .contiguous(torch::MemoryFormat::ChannelsLast);
    const int64_t timesteps = experiment.diffusion.schedule.timesteps;
    sample_steps_ =
        options.sample_steps > 0 ? options.sample_steps : std::min(kSampleSteps, timesteps);
  }

  Report run() {
    Report report;
    report.device = device_.str();
    report.precision = config::to_string(experiment_.train.precision);
    report.threads = at::get_num_threads();
    report.batch = experiment_.train.batch_size;
    report.sample_steps = sample_steps_;
    report.parameters = nn::parameter_count(*learner_.unet());
    std::vector<OpShape> shapes;
    {
      const OpRecorder recorder;
      forward();
      shapes = recorder.shapes();
      report.forward_flops = recorder.flops() / static_cast<double>(report.batch);
    }
    measure_network(report, shapes);
    if (wants("data")) measure_data(report);
    if (wants("checkpoint")) measure_checkpoint(report);
    if (options_.profile || !options_.trace.empty()) profile(report);
    report.memory_mib = train::peak_memory_mib(device_);
    return report;
  }

 private:
  bool wants(const std::string& part) const {
    return std::find(options_.parts.begin(), options_.parts.end(), part) != options_.parts.end();
  }

  void measure_network(Report& report, const std::vector<OpShape>& shapes) {
    const auto batch = static_cast<double>(report.batch);
    const double forward_flops = report.forward_flops * batch;
    const bool bf16 = experiment_.train.precision == nn::Precision::kBf16;
    const Convolutions convolutions(
        shapes, device_, bf16 ? torch::kBFloat16 : nn::storage_type(experiment_.train.precision));
    std::vector<Task> tasks;
    const auto add = [&](const std::string& name, double images, double flops,
                         std::function<void()> work) {
      report.parts.push_back({name, {}, images, flops});
      tasks.push_back({name, std::move(work)});
    };
    if (wants("forward") || wants("sample")) {
      add("conv_forward", 0, convolutions.flops(), [&] { convolutions.forward(); });
    }
    if (wants("train")) {
      add("conv", 0, 3 * convolutions.flops(), [&] { convolutions.forward_backward(); });
      add("train", batch, 3 * forward_flops, [&] { train_step(); });
    }
    if (wants("forward")) add("forward", batch, forward_flops, [&] { forward(); });
    if (wants("sample")) {
      add("sample", batch, forward_flops * static_cast<double>(sample_steps_), [&] { sample(); });
    }
    const auto times = measure_in_turn(tasks, device_, options_.warm_up, options_.repeats);
    for (size_t i = 0; i < times.size(); ++i) report.parts[i].times = times[i];
  }

  void measure_data(Report& report) {
    train::Experiment fresh = experiment_;
    fresh.data.cache_mb = 0;  // decode every image each time
    fresh.data.resident = data::Resident::kNever;
    const int64_t size = experiment_.train.batch_size;
    const int64_t batches =
        std::max<int64_t>(1, std::min(options_.data_images, data_.training->size()) / size);
    const Task task{"data", [&] {
                      const auto source = train::open_batches(fresh, *data_.training, device_);
                      for (int64_t i = 0; i < batches; ++i) source->next();
                    }};
    report.parts.push_back({"data", measure_in_turn({task}, device_, 1, options_.repeats)[0],
                            static_cast<double>(batches * size)});
  }

  void measure_checkpoint(Report& report) {
    const ScratchFolder folder(scratch_folder());
    checkpoint::CheckpointStore store(folder.path() / "checkpoints", {1, 0});
    int64_t step = 0;
    const auto save = [&] {
      checkpoint::TrainingState state;
      state.step = ++step;
      state.ema_decays = experiment_.ema.decays;
      state.power_lengths = experiment_.ema.power_lengths;
      checkpoint::write_checkpoint(
          store,
          checkpoint::checkpoint_content(*learner_.unet(), learner_.snapshot(), state, "", ""));
      store.retain();
    };
    const auto load = [&] {
      const checkpoint::TrainingTensors tensors = learner_.empty_tensors();
      checkpoint::read_checkpoint(store.folder_of(step), *learner_.unet(), experiment_.ema,
                                  tensors);
      learner_.restore_(tensors);
    };
    const auto times =
        measure_in_turn({{"save", save}, {"load", load}}, device_, 1, options_.repeats);
    report.parts.push_back({"save", times[0]});
    report.parts.push_back({"load", times[1]});
  }

  void train_step() { learner_.step_(batch_, ++step_); }

  void profile(Report& report) {
    const auto step = [&] { train_step(); };
    if (device_.is_cuda()) {
      for (int64_t i = 0; i <= DeviceGraph::kRunsBefore; ++i) step();
      report.device_profiles.emplace_back("one training step",
                                          profile_device(device_, step, options_.trace));
      if (wants("forward")) {
        for (int64_t i = 0; i <= DeviceGraph::kRunsBefore; ++i) forward();
        report.device_profiles.emplace_back("one network call",
                                            profile_device(device_, [&] { forward(); }));
      }
    } else if (!options_.trace.empty()) {
      profile_device(device_, step, options_.trace);
    }
    report.profile = operations();
  }

  // Records one training step. Replaying a CUDA graph shows no operations, so a GPU uses a second
  // learner without a graph.
  std::map<std::string, OpTotal> operations() {
    train::Experiment eager = experiment_;
    eager.train.cuda_graph = false;
    std::optional<train::Learner> other;
    if (device_.is_cuda()) {
      other.emplace(eager, device_);
      other->step_(batch_, ++step_);
    }
    const OpRecorder recorder;
    (other ? *other : learner_).step_(batch_, ++step_);
    return recorder.totals();
  }

  diffusion::Denoiser denoiser(int64_t count) {
    learner_.unet()->eval();
    const torch::Tensor labels =
        experiment_.unet.class_conditional
            ? torch::zeros({count}, torch::dtype(torch::kLong).device(device_))
            : torch::Tensor();
    return nn::make_denoiser(learner_.unet(), learner_.settings().diffusion,
                             experiment_.train.precision,
                             {labels,
                              nn::no_condition(experiment_.unet, count, x_.options()),
                              {},
                              nn::no_vectors(experiment_.unet, count, device_)});
  }

  // On a GPU it is a CUDA graph from the fourth call, as in sampling.
  void forward() {
    if (!forward_) {
      forward_ = denoiser(x_.size(0));
      t_ = torch::ones({x_.size(0)}, torch::dtype(torch::kLong).device(device_));
      const std::string why_not = experiment_.train.cuda_graph ? "" : "it is switched off";
      forward_graph_.emplace("forward", device_, why_not);
    }
    learner_.unet()->eval();
    forward_graph_->run([this] { output_ = forward_(x_, t_); });
    learner_.unet()->train();
  }

  void sample() {
    const sample::SampleConfig config = sample::with_ddim(experiment_.sample, sample_steps_);
    sample::GenerateOptions options;
    options.images = sample::image_range(0, x_.size(0));
    options.channels = x_.size(1), options.height = x_.size(2), options.width = x_.size(3);
    options.batch = x_.size(0);
    options.device = device_;
    options.dtype = x_.scalar_type();
    sample::generate(denoiser(x_.size(0)), learner_.settings().diffusion, config, options,
                     [](int64_t, const torch::Tensor& images) { images.cpu(); });
    learner_.unet()->train();
  }

  const train::Experiment& experiment_;
  const data::Split& data_;
  torch::Device device_;
  const Options& options_;
  train::Learner learner_;
  data::Batch batch_;
  torch::Tensor x_, t_, output_;
  diffusion::Denoiser forward_;
  std::optional<DeviceGraph> forward_graph_;
  int64_t sample_steps_ = 0;
  int64_t step_ = 0;
};

}  // namespace

const std::vector<std::string>& part_names() {
  static const std::vector<std::string> names{"train", "forward", "sample", "data", "checkpoint"};
  return names;
}

const Part* Report::find(const std::string& name) const {
  const auto found =
      std::find_if(parts.begin(), parts.end(), [&](const Part& p) { return p.name == name; });
  return found == parts.end() ? nullptr : &*found;
}

std::optional<double> Report::share(const Part& part) const {
  const Part* rate = find(part.name == "train" ? "conv" : "conv_forward");
  if (!rate || part.flops == 0 || part.name.starts_with("conv")) return std::nullopt;
  return part.gflops() / rate->gflops();
}

void remove_scratch() { remove_in_use(scratch_folder()); }

Report run(const train::Experiment& experiment, const data::Split& data,
           const torch::Device& device, const Options& options) {
  return Benchmark(experiment, data, device, options).run();
}

}  // namespace ddpm::bench
