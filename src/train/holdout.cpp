#include "ddpm/train/holdout.h"

#include "ddpm/base/progress.h"
#include "ddpm/base/rng.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include <torch/utils.h>

namespace ddpm::train {

Holdout::Holdout(const data::Dataset& held_out, const StepSettings& settings, int64_t batch_size)
    : settings_(settings) {
  settings_.seed = derived_seed(settings.seed, Purpose::kHoldout, 1);
  settings_.label_dropout = 0.0;
  settings_.condition_dropout = 0.0;
  settings_.offset_noise = 0.0;
  settings_.augment.reset();
  settings_.timesteps = TimestepDrawing::kUniform;
  settings_.history = nullptr;
  settings_.uncertainty = nullptr;
  Progress progress("reading held-out images", held_out.size());
  for (int64_t first = 0; first < held_out.size(); first += batch_size) {
    progress.update(first);
    std::vector<int64_t> indices(std::min(batch_size, held_out.size() - first));
    std::iota(indices.begin(), indices.end(), first);
    batches_.push_back(data::read_batch(held_out, indices));
  }
}

std::optional<double> Holdout::loss(nn::UNetImpl& unet, const std::function<bool()>& go_on,
                                    LossBins* bins) const {
  const torch::NoGradGuard no_grad;
  const bool was_training = unet.is_training();
  unet.eval();
  torch::Tensor sum = torch::zeros({}, torch::dtype(torch::kDouble).device(settings_.device));
  int64_t count = 0;
  bool whole = true;
  for (const data::Batch& batch : batches_) {
    if (!(whole = go_on())) break;
    const StepLosses losses = unweighted_losses(unet, settings_, batch);
    sum += losses.per_sample.sum().to(torch::kDouble);
    if (bins) bins->add_(losses);
    count += batch.ids.size(0);
  }
  unet.train(was_training);
  if (!whole) return std::nullopt;
  return sum.item<double>() / static_cast<double>(count);
}

}  // namespace ddpm::train
