#include "ddpm/train/train_step.h"

#include "ddpm/base/rng.h"
#include "ddpm/diffusion/loss.h"
#include "ddpm/kernels/random.h"

namespace ddpm::train {

torch::Tensor to_unit_range(const torch::Tensor& images, const torch::Device& device,
                            torch::Dtype dtype) {
  const torch::Tensor pixels = images.to(device, /*non_blocking=*/true);
  return pixels.to(dtype, /*non_blocking=*/false, /*copy=*/false, torch::MemoryFormat::ChannelsLast)
      .div_(127.5)
      .sub_(1.0);
}

StepLosses sample_losses(nn::UNetImpl& unet, const StepSettings& settings,
                         const data::Batch& batch) {
  const auto on_device = torch::dtype(torch::kLong).device(settings.device);
  const torch::Tensor ids = batch.ids.to(settings.device, /*non_blocking=*/true);

  // Line 2: x_0 ~ q(x_0).
  const torch::Tensor x0 =
      to_unit_range(batch.images, settings.device, nn::storage_type(settings.precision));
  // Line 3: t ~ Uniform({1, ..., T}).
  torch::Tensor t = torch::empty({x0.size(0)}, on_device);
  kernels::fill_uniform_int_(t, rng_key(settings.seed, Purpose::kTimestep), ids, 1,
                             settings.forward.schedule().timesteps());
  // Line 4: eps ~ N(0, I).
  const torch::Tensor eps = torch::empty_like(x0);
  kernels::fill_normal_(eps, rng_key(settings.seed, Purpose::kTrainingNoise), ids);
  // Line 5: || target - network(x_t, t) ||^2.
  const torch::Tensor x_t = settings.forward.sample(x0, t, eps);
  const torch::Tensor target =
      diffusion::training_target(settings.prediction, settings.forward.schedule(), x0, eps, x_t, t);
  const torch::Tensor labels = unet.config().class_conditional
                                   ? batch.labels.to(settings.device, /*non_blocking=*/true)
                                   : torch::Tensor();
  torch::Tensor output;
  {
    const nn::AutocastGuard autocast(settings.device.type(), settings.precision);
    output = unet.forward(x_t, t - 1, labels);  // the network counts t from 0
  }
  // L_simple trains the mean only, not a learned variance.
  if (unet.config().learned_variance) output = output.narrow(1, 0, x_t.size(1));
  return {diffusion::simple_loss_per_sample(output, target), t};
}

StepLosses accumulate_gradient(nn::UNetImpl& unet, const StepSettings& settings,
                               const data::Batch& batch, double weight) {
  const StepLosses losses = sample_losses(unet, settings, batch);
  (losses.per_sample.mean() * weight).backward();  // line 5: the gradient
  return {losses.per_sample.detach(), losses.t};
}

data::Batch slice(const data::Batch& batch, int64_t first, int64_t count) {
  return {batch.images.narrow(0, first, count), batch.labels.narrow(0, first, count),
          batch.ids.narrow(0, first, count)};
}

}  // namespace ddpm::train
