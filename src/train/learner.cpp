#include "ddpm/train/learner.h"

#include "ddpm/base/rng.h"
#include "ddpm/nn/init.h"

#include <torch/utils.h>

namespace ddpm::train {
namespace {

nn::UNet make_unet(const Experiment& experiment, const torch::Device& device) {
  nn::UNet unet(experiment.unet);
  nn::initialize_(*unet, experiment.run.seed);
  unet->to(device, nn::storage_type(experiment.train.precision));
  nn::use_channels_last_(*unet);
  unet->train();
  return unet;
}

std::vector<nn::Ema> make_averages(const nn::EmaConfig& config, const nn::UNet& unet) {
  std::vector<nn::Ema> averages;
  for (const double decay : config.decays) averages.emplace_back(*unet, decay, config.warmup);
  return averages;
}

}  // namespace

Learner::Learner(const Experiment& experiment, const torch::Device& device,
                 const dist::World& world)
    : world_(world),
      train_(experiment.train),
      optimizer_config_(experiment.optimizer),
      settings_{diffusion::ForwardProcess(diffusion::Schedule(experiment.diffusion.schedule)),
                experiment.diffusion.prediction, experiment.train.precision, device,
                experiment.run.seed},
      unet_(make_unet(experiment, device)),
      averages_(make_averages(experiment.ema, unet_)),
      optimizer_(unet_->parameters(), experiment.optimizer),
      metrics_(device, experiment.diffusion.schedule.timesteps) {}

void Learner::broadcast_() {
  std::vector<torch::Tensor> tensors = unet_->parameters();
  const auto add = [&](const std::vector<torch::Tensor>& more) {
    tensors.insert(tensors.end(), more.begin(), more.end());
  };
  for (const nn::Ema& average : averages_) add(average.averages());
  add(optimizer_.first_moments());
  add(optimizer_.second_moments());
  tensors.push_back(optimizer_.updates());
  world_.broadcast_(tensors);
}

void Learner::step_(const data::Batch& batch, int64_t step) {
  // Dropout draws from torch's own generator: seeded by the step, so that a resume repeats it.
  if (unet_->config().dropout > 0.0) {
    torch::manual_seed(derived_seed(settings_.seed, Purpose::kDropout, static_cast<uint64_t>(step),
                                    static_cast<uint64_t>(world_.rank())));
  }
  unet_->zero_grad(/*set_to_none=*/true);
  // Every micro-batch weighs as its share of the whole batch: the sum over rounds and ranks is the
  // gradient of the mean.
  const int64_t micro_batch = train_.batch_size / (world_.size() * train_.accumulate);
  const double weight = static_cast<double>(micro_batch) / static_cast<double>(train_.batch_size);
  for (int64_t round = 0; round < train_.accumulate; ++round) {
    metrics_.add_losses(accumulate_gradient(
        *unet_, settings_, slice(batch, round * micro_batch, micro_batch), weight));
  }
  if (world_.size() > 1) sum_gradients_();
  metrics_.add_update(optimizer_.step_(learning_rate(optimizer_config_, step, train_.steps)));
  for (nn::Ema& average : averages_) average.update_(*unet_, step);
}

// What follows is the same on every rank: a gradient that is not finite on one is so on all, and
// all skip the update.
void Learner::sum_gradients_() {
  std::vector<torch::Tensor> gradients;
  for (const torch::Tensor& p : unet_->parameters()) gradients.push_back(p.grad());
  world_.all_reduce_sum_(gradients);
}

}  // namespace ddpm::train
