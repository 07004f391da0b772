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

Learner::Learner(const Experiment& experiment, const torch::Device& device)
    : train_(experiment.train),
      optimizer_config_(experiment.optimizer),
      settings_{diffusion::ForwardProcess(diffusion::Schedule(experiment.diffusion.schedule)),
                experiment.diffusion.prediction, experiment.train.precision, device,
                experiment.run.seed},
      unet_(make_unet(experiment, device)),
      averages_(make_averages(experiment.ema, unet_)),
      optimizer_(unet_->parameters(), experiment.optimizer),
      metrics_(device, experiment.diffusion.schedule.timesteps) {}

void Learner::step_(const data::Batch& batch, int64_t step) {
  // Dropout draws from torch's own generator: seeded by the step, so that a resume repeats it.
  if (unet_->config().dropout > 0.0) {
    torch::manual_seed(
        derived_seed(settings_.seed, Purpose::kDropout, static_cast<uint64_t>(step)));
  }
  unet_->zero_grad(/*set_to_none=*/true);
  const int64_t micro_batch = train_.batch_size / train_.accumulate;
  for (int64_t round = 0; round < train_.accumulate; ++round) {
    metrics_.add_losses(accumulate_gradient(*unet_, settings_,
                                            slice(batch, round * micro_batch, micro_batch),
                                            1.0 / static_cast<double>(train_.accumulate)));
  }
  metrics_.add_update(optimizer_.step_(learning_rate(optimizer_config_, step, train_.steps)));
  for (nn::Ema& average : averages_) average.update_(*unet_, step);
}

}  // namespace ddpm::train
