#include "ddpm/checkpoint/averages.h"
#include "ddpm/train/learner.h"

#include <fmt/format.h>
#include <torch/utils.h>

// A learner's state: at the beginning, in checkpoints and in EMA snapshots.

namespace ddpm::train {
namespace {

// Contiguous tensors in host memory, as in a file.
std::vector<torch::Tensor> host_space(const std::vector<torch::Tensor>& tensors) {
  std::vector<torch::Tensor> space;
  for (const torch::Tensor& t : tensors)
    space.push_back(torch::empty(t.sizes(), t.options().device(torch::kCPU).requires_grad(false)));
  return space;
}

void copy_(const std::vector<torch::Tensor>& to, const std::vector<torch::Tensor>& from) {
  TORCH_CHECK(to.size() == from.size(), from.size(), " tensors for ", to.size());
  for (size_t i = 0; i < to.size(); ++i) to[i].detach().copy_(from[i]);
}

std::vector<torch::Tensor> host_copies(const std::vector<torch::Tensor>& tensors) {
  const std::vector<torch::Tensor> copies = host_space(tensors);
  copy_(copies, tensors);
  return copies;
}

std::vector<torch::Tensor> tensors_of(const std::vector<io::NamedTensor>& named) {
  std::vector<torch::Tensor> tensors;
  for (const io::NamedTensor& n : named) tensors.push_back(n.tensor);
  return tensors;
}

std::vector<io::NamedTensor> host_copies(const std::vector<io::NamedTensor>& named) {
  std::vector<io::NamedTensor> copies;
  for (const io::NamedTensor& n : named) copies.push_back({n.name, host_copies({n.tensor})[0]});
  return copies;
}

}  // namespace

void Learner::begin_() {
  world_.broadcast_(parameters_);
  const torch::NoGradGuard no_grad;
  for (const nn::Ema& average : averages_) copy_(average.averages(), own_);
  for (const nn::Ema& average : power_averages_) copy_(average.averages(), own_);
}

// What a resumed run needs besides the network and its optimizer. Equal on all ranks.
std::vector<io::NamedTensor> Learner::extras() const {
  std::vector<io::NamedTensor> named;
  const auto add = [&](const std::string& name, const torch::Tensor& tensor) {
    named.push_back({name, tensor.detach()});
  };
  if (history_) {
    add("t_history.losses", history_->state()[0]);
    add("t_history.counts", history_->state()[1]);
  }
  if (uncertainty_) {
    const char* names[] = {"uncertainty.weight", "uncertainty.bias"};
    for (size_t i = 0; i < 2; ++i) {
      add(names[i], uncertainty_->parameters()[i]);
      add(fmt::format("exp_avg.{}", names[i]), uncertainty_optimizer_->first_moments()[i]);
      add(fmt::format("exp_avg_sq.{}", names[i]), uncertainty_optimizer_->second_moments()[i]);
    }
    add("uncertainty.step", uncertainty_optimizer_->updates());
  }
  if (noise_scale_) add("noise_scale.averages", noise_scale_->state());
  return named;
}

checkpoint::TrainingTensors Learner::snapshot() const {
  const torch::NoGradGuard no_grad;
  checkpoint::TrainingTensors tensors;
  for (int64_t i = 0; i < average_count(); ++i) tensors.averages.push_back(host_copies(average(i)));
  for (const nn::Ema& average : power_averages_)
    tensors.power_averages.push_back(host_copies(shards_.gather(average.averages())));
  tensors.first_moments = host_copies(shards_.gather(optimizer_.first_moments()));
  tensors.second_moments = host_copies(shards_.gather(optimizer_.second_moments()));
  if (!world_.is_main()) return {};
  tensors.weights = host_copies(parameters_);
  tensors.updates = host_copies({optimizer_.updates()})[0];
  tensors.extras = host_copies(extras());
  return tensors;
}

checkpoint::TrainingTensors Learner::empty_tensors() const {
  checkpoint::TrainingTensors tensors;
  tensors.weights = host_space(parameters_);
  tensors.averages.resize(averages_.size());
  for (auto& average : tensors.averages) average = host_space(parameters_);
  tensors.power_averages.resize(power_averages_.size());
  for (auto& average : tensors.power_averages) average = host_space(parameters_);
  tensors.first_moments = host_space(parameters_);
  tensors.second_moments = host_space(parameters_);
  tensors.updates = host_space({optimizer_.updates()})[0];
  tensors.extras = host_copies(extras());  // as they are now, where a checkpoint lacks one
  return tensors;
}

void Learner::restore_(const checkpoint::TrainingTensors& tensors) {
  const torch::NoGradGuard no_grad;
  const auto take = [&](const std::vector<torch::Tensor>& to,
                        const std::vector<torch::Tensor>& from) {
    if (world_.is_main()) copy_(to, from);
    world_.broadcast_(to);
  };
  // Divided tensors are broadcast whole, into temporary tensors.
  const auto take_own = [&](const std::vector<torch::Tensor>& own,
                            const std::vector<torch::Tensor>& from) {
    if (!shards_.divided()) return take(own, from);
    std::vector<torch::Tensor> whole;
    for (const torch::Tensor& p : parameters_) whole.push_back(torch::empty_like(p).detach());
    take(whole, from);
    copy_(own, shards_.own(whole));
  };
  const std::vector<torch::Tensor> nothing;
  take(parameters_, tensors.weights);
  for (size_t i = 0; i < averages_.size(); ++i)
    take_own(averages_[i].averages(), world_.is_main() ? tensors.averages[i] : nothing);
  for (size_t i = 0; i < power_averages_.size(); ++i)
    take_own(power_averages_[i].averages(), world_.is_main() ? tensors.power_averages[i] : nothing);
  take_own(optimizer_.first_moments(), tensors.first_moments);
  take_own(optimizer_.second_moments(), tensors.second_moments);
  take({optimizer_.updates()}, {tensors.updates});
  take(tensors_of(extras()), tensors_of(tensors.extras));
  if (history_) history_->refresh_();
}

std::vector<torch::Tensor> Learner::average(int64_t i) const {
  return shards_.gather(averages_[static_cast<size_t>(i)].averages());
}

std::vector<std::vector<torch::Tensor>> Learner::stored_power_averages() const {
  const torch::NoGradGuard no_grad;
  std::vector<std::vector<torch::Tensor>> stored;
  for (const nn::Ema& average : power_averages_) {
    stored.emplace_back();
    for (const torch::Tensor& tensor : shards_.gather(average.averages()))
      stored.back().push_back(checkpoint::stored_tensor(tensor));
  }
  return stored;
}

}  // namespace ddpm::train
