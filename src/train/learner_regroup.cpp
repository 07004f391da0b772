#include "ddpm/train/learner.h"
#include "share.h"

#include <torch/utils.h>

// The learner's part in a loss: who has completed a step gives it to who has not.

namespace ddpm::train {

Learner::StepSums Learner::new_step_sums(const Experiment& experiment,
                                         const diffusion::Schedule& schedule,
                                         const torch::Device& device) {
  const torch::Tensor zero = torch::zeros({}, torch::dtype(torch::kDouble).device(device));
  StepSums sums{
      MetricsAccumulator(device, schedule.timesteps()), {}, {zero, zero.to(torch::kFloat)}};
  if (const int64_t count = experiment.train.loss_bins; count > 0)
    sums.bins.emplace(schedule, count, device);
  return sums;
}

// All that a step changes besides the metrics, which read_metrics empties at other times on each
// rank, and the sums that they are to have of the last step.
std::vector<torch::Tensor> Learner::state() const {
  std::vector<torch::Tensor> all;
  const auto add = [&](const std::vector<torch::Tensor>& tensors) {
    for (const torch::Tensor& t : tensors) all.push_back(t.detach());
  };
  add(parameters_);
  for (const nn::Ema& average : averages_) add(average.averages());
  for (const nn::Ema& average : power_averages_) add(average.averages());
  add(optimizer_.first_moments());
  add(optimizer_.second_moments());
  add({optimizer_.updates()});
  for (const io::NamedTensor& extra : extras()) add({extra.tensor});
  add({step_sums_->metrics.losses(), step_sums_->update.grad_norm, step_sums_->update.skipped});
  if (bins_) add({step_sums_->bins->sums()});
  return all;
}

// A rank that is behind receives into other memory and takes it over when it has all.
void Learner::regroup_(int64_t from, bool behind) {
  TORCH_CHECK(step_sums_ && !shards_.divided(), "this run cannot go on without a rank");
  const torch::NoGradGuard no_grad;
  rounds_ = rounds_of(share_of(train_.batch_size, world_.rank(), world_.size()).count);
  reducer_.rebuild_();
  const std::vector<torch::Tensor> own = state();
  std::vector<torch::Tensor> received;
  for (const torch::Tensor& t : own) received.push_back(behind ? torch::empty_like(t) : t);
  world_.broadcast_(received, from);
  if (!behind) return;
  for (size_t i = 0; i < own.size(); ++i) own[i].copy_(received[i]);
  metrics_.add_update(step_sums_->update);
  metrics_.add(step_sums_->metrics);
  if (bins_) bins_->add_(*step_sums_->bins);
  if (history_) history_->refresh_();
}

}  // namespace ddpm::train
