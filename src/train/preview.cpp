#include "preview.h"

#include "ddpm/data/loader.h"
#include "ddpm/diffusion/condition.h"
#include "ddpm/diffusion/image_range.h"
#include "ddpm/io/image.h"
#include "ddpm/nn/drawing_network.h"
#include "ddpm/sample/generate.h"

#include <algorithm>
#include <vector>

#include <spdlog/spdlog.h>
#include <torch/types.h>

namespace ddpm::train {
namespace {

sample::SampleConfig preview_sampling(const Experiment& experiment) {
  sample::SampleConfig config = sample::with_ddim(experiment.sample, experiment.train.sample_steps);
  config.batch = std::min(config.batch, experiment.train.sample_count);
  return config;
}

}  // namespace

Preview::Preview(const Experiment& experiment, const torch::Device& device)
    : network_(experiment.unet),
      sample_(preview_sampling(experiment)),
      count_(experiment.train.sample_count),
      precision_(experiment.train.precision),
      cuda_graph_(experiment.train.cuda_graph),
      seed_(experiment.run.seed),
      device_(device) {}

void Preview::draw(Learner& learner, const dist::World& world, const Watch& watch,
                   const Sink& sink) const {
  const auto deliver = [&](const std::string& name) {
    try {
      const torch::Tensor picture = grid(learner, name, watch);
      if (picture.defined()) sink(name, picture);
    } catch (const sample::NotFinite& error) {
      spdlog::warn("no samples of the {} weights: {}; lower optimizer.lr if this continues", name,
                   error.what());
    }
  };
  learner.unet()->eval();
  if (world.is_main()) deliver("raw");
  for (int64_t i = 0; i < learner.average_count(); ++i) {
    const std::vector<torch::Tensor> average = learner.average(i);
    if (!world.is_main()) continue;
    const nn::WeightSwap averaged(*learner.unet(), average);
    deliver(checkpoint::ema_name(static_cast<size_t>(i)));
  }
  learner.unet()->train();
}

void Preview::condition_on_(const data::Dataset& images) {
  if (!network_.condition.is_set()) return;
  const auto first = sample::image_range(0, std::min(count_, images.size()));
  const torch::Tensor x0 =
      diffusion::to_model_range(data::read_batch(images, first).images, torch::kFloat);
  pictures_ = diffusion::condition_picture(network_.condition, x0);
}

torch::Tensor Preview::pictures_of(const std::vector<int64_t>& images) const {
  return pictures_.index_select(0, torch::tensor(images).remainder(pictures_.size(0)));
}

// A grid of samples, uint8 [N,C,H,W], or of each condition and its sample.
torch::Tensor Preview::arranged(const torch::Tensor& images) const {
  if (!pictures_.defined()) return io::make_grid(images);
  const torch::Tensor given =
      diffusion::condition_image(pictures_of(sample::image_range(0, images.size(0))),
                                 images.size(1), images.size(2), images.size(3));
  return io::make_paired_grid(given, images);
}

// Returns an undefined tensor if it was stopped.
torch::Tensor Preview::grid(Learner& learner, const std::string& weights,
                            const Watch& watch) const {
  sample::GenerateOptions options;
  options.images = sample::image_range(0, count_);
  options.channels = network_.image.channels;
  options.height = network_.image.height;
  options.width = network_.image.width;
  options.batch = sample_.batch;
  options.seed = seed_;
  options.device = device_;
  options.dtype = nn::storage_type(precision_);
  options.cuda_graph = cuda_graph_;
  options.progress = [&](const sample::Progress& progress) { return watch(weights, progress); };

  const auto classes =
      sample::image_range(0, network_.class_conditional ? network_.image.classes : int64_t{0});
  nn::DrawingNetwork network(
      learner.unet(), learner.settings().diffusion,
      {.classes = classes,
       .pictures = [this](const auto& images) { return pictures_of(images); },
       .batch = sample_.batch,
       .device = device_,
       .precision = precision_,
       .guidance = sample_.guidance});
  options.before_batch = [&](const std::vector<int64_t>& images) { network.set_batch_(images); };
  std::vector<torch::Tensor> batches;
  const auto result = sample::generate(
      network.denoiser(), learner.settings().diffusion, sample_, options,
      [&](int64_t, const torch::Tensor& x) { batches.push_back(diffusion::to_uint8(x).cpu()); });
  return result.stopped ? torch::Tensor() : arranged(torch::cat(batches));
}

}  // namespace ddpm::train
