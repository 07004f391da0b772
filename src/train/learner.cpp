#include "ddpm/train/learner.h"

#include "ddpm/base/rng.h"
#include "ddpm/checkpoint/ema_snapshots.h"
#include "ddpm/diffusion/noise_level.h"
#include "ddpm/nn/init.h"
#include "ddpm/nn/power_ema.h"
#include "ddpm/train/micro_batch.h"

#include <mutex>

#include <ATen/Context.h>
#include <fmt/format.h>
#include <torch/utils.h>

namespace ddpm::train {
namespace {

nn::UNet make_unet(const Experiment& experiment, const torch::Device& device) {
  nn::UNet unet(experiment.unet);
  nn::initialize_(*unet, experiment.run.seed);
  unet->to(device, nn::storage_type(experiment.train.precision));
  nn::use_channels_last_(*unet);
  unet->set_recompute_(experiment.train.recompute);
  unet->train();
  return unet;
}

std::vector<nn::Ema> make_averages(const nn::EmaConfig& config,
                                   const std::vector<torch::Tensor>& parameters) {
  std::vector<nn::Ema> averages;
  for (const double decay : config.decays) averages.emplace_back(parameters, decay, config.warmup);
  return averages;
}

std::vector<nn::Ema> make_power_averages(const nn::EmaConfig& config,
                                         const std::vector<torch::Tensor>& parameters) {
  std::vector<nn::Ema> averages;
  for (const double length : config.power_lengths) {
    const double exponent = nn::power_exponent(length);
    averages.emplace_back(parameters,
                          [exponent](int64_t n) { return nn::power_weight(exponent, n); });
  }
  return averages;
}

// Contiguous tensors in host memory, as in a file.
std::vector<torch::Tensor> host_space(const std::vector<torch::Tensor>& tensors) {
  std::vector<torch::Tensor> space;
  for (const torch::Tensor& t : tensors)
    space.push_back(torch::empty(t.sizes(), t.options().device(torch::kCPU).requires_grad(false)));
  return space;
}

// Seeds only `device`. torch::manual_seed seeds all devices, which creates a context on every GPU.
void seed_generator(const torch::Device& device, uint64_t seed) {
  at::Generator generator = at::globalContext().defaultGenerator(device);
  const std::lock_guard lock(generator.mutex());
  generator.set_current_seed(seed);
}

void copy_(const std::vector<torch::Tensor>& to, const std::vector<torch::Tensor>& from) {
  for (size_t i = 0; i < to.size(); ++i) to[i].detach().copy_(from[i]);
}

std::vector<torch::Tensor> host_copies(const std::vector<torch::Tensor>& tensors) {
  const std::vector<torch::Tensor> copies = host_space(tensors);
  copy_(copies, tensors);
  return copies;
}

constexpr const char* kStepName = "training step";

// The reason why steps are not captured; "" if they are.
std::string why_not_recorded(const Experiment& experiment, const dist::World& world) {
  if (!experiment.train.cuda_graph) return "train.cuda_graph is \"never\"";
  if (world.size() > 1) return "several processes sum their gradients during the backward pass";
  if (experiment.train.recompute && experiment.unet.dropout > 0.0)
    return "train.recompute draws dropout twice, from a generator that a graph cannot turn back";
  return "";
}

LogNormalTimes log_normal_times(const TrainConfig& train, const diffusion::Schedule& schedule,
                                const torch::Device& device) {
  if (train.t_sampling != TimestepDrawing::kLogNormal) return {};
  return {train.log_sigma_mean, train.log_sigma_std,
          diffusion::log_sigma_bounds(schedule).to(device)};
}

StepSettings step_settings(const Experiment& experiment, const torch::Device& device) {
  const TrainConfig& train = experiment.train;
  const diffusion::Schedule schedule(experiment.diffusion.schedule);
  const diffusion::Parameterization parameterization = experiment.diffusion.parameterization();
  return {.diffusion =
              diffusion::Diffusion(schedule, parameterization,
                                   diffusion::loss_weight(train.loss, schedule, parameterization)),
          .precision = train.precision,
          .device = device,
          .seed = experiment.run.seed,
          .label_dropout = train.label_dropout,
          .offset_noise = train.offset_noise,
          .timesteps = train.t_sampling,
          .batch_size = train.batch_size,
          .log_normal = log_normal_times(train, schedule, device),
          .objective = train.objective,
          .variance = experiment.unet.learned_variance ? diffusion::ModelVariance::kLearned
                                                       : train.variance};
}

}  // namespace

Learner::Learner(const Experiment& experiment, const torch::Device& device,
                 const dist::World& world)
    : world_(world),
      train_(experiment.train),
      arithmetic_(train_.precision, train_.deterministic, train_.steps * train_.accumulate),
      optimizer_config_(experiment.optimizer),
      rounds_(experiment.train.accumulate),
      settings_(step_settings(experiment, device)),
      unet_(make_unet(experiment, device)),
      parameters_(unet_->parameters()),
      shards_(parameters_, world, experiment.train.shard_optimizer),
      own_(shards_.own(parameters_)),
      averages_(make_averages(experiment.ema, own_)),
      power_averages_(make_power_averages(experiment.ema, own_)),
      optimizer_(own_, experiment.optimizer, parameters_),
      reducer_(world, parameters_),
      metrics_(device, experiment.diffusion.schedule.timesteps),
      graph_(kStepName, device, why_not_recorded(experiment, world)) {}

void Learner::begin_() {
  world_.broadcast_(parameters_);
  const torch::NoGradGuard no_grad;
  for (const nn::Ema& average : averages_) copy_(average.averages(), own_);
  for (const nn::Ema& average : power_averages_) copy_(average.averages(), own_);
}

void Learner::step_(const data::Batch& batch, int64_t step) {
  load_(batch);
  set_step_(step);
  graph_.run([this] { update_(); });
}

// Copies the batch into the tensors that update_ reads. Tensors in host memory are pinned first, so
// that the copy does not wait for earlier steps.
void Learner::load_(const data::Batch& batch) {
  const auto load = [&](torch::Tensor& to, const torch::Tensor& from) {
    if (!to.defined() || to.sizes() != from.sizes() || to.scalar_type() != from.scalar_type()) {
      to = torch::empty(from.sizes(), from.options().device(settings_.device));
      graph_.reset();
    }
    const bool upload = from.is_cpu() && settings_.device.is_cuda();
    to.copy_(upload ? from.pin_memory() : from, /*non_blocking=*/true);
  };
  load(batch_.images, batch.images);
  load(batch_.labels, batch.labels);
  load(batch_.ids, batch.ids);
}

// Sets all other inputs that change between steps: dropout's seed, learning rate, EMA weights.
void Learner::set_step_(int64_t step) {
  // Dropout uses torch's generator. It is seeded by the step, so that a resumed run repeats it.
  if (unet_->config().dropout > 0.0) {
    seed_generator(settings_.device,
                   derived_seed(settings_.seed, Purpose::kDropout, static_cast<uint64_t>(step),
                                static_cast<uint64_t>(world_.rank())));
  }
  optimizer_.set_rate_(learning_rate(optimizer_config_, step, train_.steps));
  for (nn::Ema& average : averages_) average.set_update_(step);
  for (nn::Ema& average : power_averages_) average.set_update_(step);
}

// Every step runs the same operations on the same tensors, as a CUDA graph requires. Old gradients
// are released; the new ones are in the graph's memory.
void Learner::update_() {
  unet_->zero_grad(/*set_to_none=*/true);
  accumulate_();
  metrics_.add_update(optimizer_.step_());
  shards_.exchange_(parameters_);
  for (nn::Ema& average : averages_) average.update_(own_);
  for (nn::Ema& average : power_averages_) average.update_(own_);
}

// A micro-batch is weighted by its share of the whole batch, so that the sum over rounds and ranks
// is the gradient of the mean. Gradients are summed over ranks during the last backward pass and
// are then equal on every rank. If one is not finite, all ranks skip the update.
void Learner::accumulate_() {
  const int64_t micro_batch = train_.batch_size / (world_.size() * rounds_);
  const double weight = static_cast<double>(micro_batch) / static_cast<double>(train_.batch_size);
  for (int64_t round = 0; round < rounds_; ++round) {
    const auto pass = [&] {
      metrics_.add_losses(accumulate_gradient(
          *unet_, settings_, slice(batch_, round * micro_batch, micro_batch), weight));
    };
    if (round + 1 < rounds_) {
      pass();
    } else {
      reducer_.sum_during(pass);
    }
  }
}

void Learner::record_by_(std::unique_ptr<GraphRecorder> recorder) {
  graph_ = DeviceGraph(kStepName, std::move(recorder));
}

int64_t Learner::fit_micro_batch_() {
  const int64_t share = train_.batch_size / world_.size();
  const nn::ImageSpec& image = unet_->config().image;
  const int64_t own =
      largest_that_fits(share, share / rounds_, settings_.device, [&](int64_t count) {
        data::Batch batch;
        batch.images =
            torch::zeros({count, image.channels, image.height, image.width}, torch::kByte);
        batch.labels = torch::zeros({count}, torch::kLong);
        batch.ids = torch::arange(count, torch::kLong);
        accumulate_gradient(*unet_, settings_, batch, 1.0);
        unet_->zero_grad(/*set_to_none=*/true);
      });
  rounds_ = world_.all_reduce_max({share / own})[0];
  graph_.reset();  // captured with another number of rounds
  return share / rounds_;
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
