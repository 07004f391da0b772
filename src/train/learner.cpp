#include "ddpm/train/learner.h"

#include "ddpm/base/rng.h"
#include "ddpm/diffusion/schedule.h"
#include "ddpm/nn/ema.h"
#include "ddpm/nn/unet.h"
#include "ddpm/train/micro_batch.h"
#include "noise_coupling.h"
#include "share.h"

#include <algorithm>
#include <mutex>

#include <ATen/Context.h>
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

// Seeds only `device`. torch::manual_seed seeds all devices, which creates a context on every GPU.
void seed_generator(const torch::Device& device, uint64_t seed) {
  at::Generator generator = at::globalContext().defaultGenerator(device);
  const std::lock_guard lock(generator.mutex());
  generator.set_current_seed(seed);
}

// u(t) has no decay, which would draw it away from log E L_t.
OptimizerConfig without_decay(OptimizerConfig config) {
  config.weight_decay = 0.0;
  return config;
}

// Parts of one rank's share of a batch, to compare their gradients with that of all ranks.
int64_t gradient_parts(int64_t share, int64_t rounds, int64_t ranks) {
  int64_t parts = rounds;
  if (rounds * ranks == 1) {
    parts = 2;
    while (share % parts != 0) ++parts;
  }
  return parts;
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

std::optional<double> augment_of(const data::DataConfig& data) {
  if (data.augment == data::Augment::kNone) return std::nullopt;
  return data.augment_probability;
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
          .self_condition_probability = train.self_condition_probability,
          .label_dropout = train.label_dropout,
          .condition_dropout = train.condition_dropout,
          .offset_noise = train.offset_noise,
          .augment = augment_of(experiment.data),
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
      micro_batch_(smallest_share() / experiment.train.accumulate),
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
      graph_(kStepName, device, why_not_recorded(experiment, world)) {
  const diffusion::Schedule& schedule = settings_.diffusion.schedule();
  if (train_.t_sampling == TimestepDrawing::kLossSecondMoment)
    settings_.history = history_ = std::make_shared<TimestepHistory>(schedule.timesteps(), device);
  if (train_.loss.weighting == diffusion::LossWeighting::kLearned) {
    settings_.uncertainty = uncertainty_ = std::make_shared<LossUncertainty>(
        schedule, settings_.seed, nn::storage_type(train_.precision), device);
    uncertainty_optimizer_.emplace(uncertainty_->parameters(), without_decay(experiment.optimizer));
  }
  if (train_.loss_bins > 0) bins_.emplace(schedule, train_.loss_bins, device);
  if (train_.noise_scale_every > 0) noise_scale_.emplace(device);
  if (world.size() > 1 && experiment.run.on_lost_rank == dist::OnLostRank::kShrink)
    step_sums_.emplace(new_step_sums(experiment, schedule, device));
}

void Learner::step_(const data::Batch& batch, int64_t step) {
  load_(batch);
  const std::optional<GradientNorms> noise = measured_noise_(step);
  set_step_(step);
  graph_.run([this] { update_(); });
  if (noise) noise_scale_->add_(*noise);
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
  if (batch.vectors.defined()) load(batch_.vectors, batch.vectors);
  if (train_.noise_coupling == NoiseCoupling::kOptimalTransport)
    load(batch_.noise_ids, transported_noise_ids(settings_, batch));
}

// Dropout uses torch's generator. It is seeded by the step, so that a resumed run repeats it.
void Learner::seed_dropout_(int64_t step) {
  if (unet_->config().dropout > 0.0) {
    seed_generator(settings_.device,
                   derived_seed(settings_.seed, Purpose::kDropout, static_cast<uint64_t>(step),
                                static_cast<uint64_t>(world_.rank())));
  }
}

// Takes passes of its own, outside the graph: training is the same with and without them. Every rank
// takes as many images as the one with the smallest share.
std::optional<GradientNorms> Learner::measured_noise_(int64_t step) {
  if (!noise_scale_ || step % train_.noise_scale_every != 0) return std::nullopt;
  seed_dropout_(step);
  const int64_t share = smallest_share();
  const int64_t parts = gradient_parts(share, rounds_of(share), world_.size());
  const GradientNorms norms =
      gradient_norms(*unet_, settings_, slice(batch_, 0, share), parts, world_);
  if (uncertainty_) uncertainty_->zero_grad();
  return norms;
}

int64_t Learner::rounds_of(int64_t share) const {
  return (share + micro_batch_ - 1) / micro_batch_;
}

// Sets all other inputs that change between steps: dropout's seed, learning rate, EMA decays.
void Learner::set_step_(int64_t step) {
  seed_dropout_(step);
  const double rate = learning_rate(optimizer_config_, step, train_.steps);
  optimizer_.set_rate_(rate);
  if (uncertainty_optimizer_) uncertainty_optimizer_->set_rate_(rate);
  for (nn::Ema& average : averages_) average.set_update_(step);
  for (nn::Ema& average : power_averages_) average.set_update_(step);
}

// Every step runs the same operations on the same tensors, as a CUDA graph requires. Old gradients
// are released; the new ones are in the graph's memory. All sums over the ranks come first: if one of
// them fails, because a rank is lost, nothing has changed.
void Learner::update_() {
  unet_->zero_grad(/*set_to_none=*/true);
  if (uncertainty_) uncertainty_->zero_grad();
  apply_(accumulate_());
}

// A micro-batch is weighted by its share of the whole batch, so that the sum over rounds and ranks
// is the gradient of the mean. Gradients are summed over ranks during the last backward pass and
// are then equal on every rank. If one is not finite, all ranks skip the update.
// Returns what apply_ needs besides.
StepLosses Learner::accumulate_() {
  if (step_sums_) step_sums_->metrics.read();
  if (step_sums_ && bins_) step_sums_->bins->read();
  MetricsAccumulator& metrics = step_sums_ ? step_sums_->metrics : metrics_;
  std::optional<LossBins>& bins = step_sums_ ? step_sums_->bins : bins_;
  std::vector<StepLosses> losses;
  for (int64_t round = 0; round < rounds_; ++round) {
    const Share part = part_of(batch_.ids.size(0), round, rounds_);
    const double weight = static_cast<double>(part.count) / static_cast<double>(train_.batch_size);
    const auto pass = [&] {
      losses.push_back(
          accumulate_gradient(*unet_, settings_, slice(batch_, part.first, part.count), weight));
      metrics.add_losses(losses.back());
      if (bins) bins->add_(losses.back());
    };
    if (round + 1 < rounds_) {
      pass();
    } else {
      reducer_.sum_during(pass);
    }
  }
  return sum_over_ranks_(losses);
}

// All other sums that the update needs.
StepLosses Learner::sum_over_ranks_(const std::vector<StepLosses>& rounds) {
  StepLosses whole;
  if (history_) whole = gathered(rounds);
  if (uncertainty_) {
    std::vector<torch::Tensor> gradients;
    for (const torch::Tensor& p : uncertainty_->parameters()) gradients.push_back(p.grad());
    world_.all_reduce_sum_(gradients);
  }
  if (!step_sums_) return whole;
  std::vector<torch::Tensor> sums{step_sums_->metrics.losses()};
  if (bins_) sums.push_back(step_sums_->bins->sums());
  world_.all_reduce_sum_(sums);
  return whole;
}

// The losses of all ranks in the order of the images' ids, whatever ranks and rounds they were
// divided into. A sum with zeros is exact.
StepLosses Learner::gathered(const std::vector<StepLosses>& rounds) const {
  std::vector<torch::Tensor> t, losses;
  for (const StepLosses& round : rounds) {
    t.push_back(round.t);
    losses.push_back(round.objective);
  }
  const torch::Tensor own = torch::stack(
      {torch::cat(t).to(torch::kDouble), torch::cat(losses).to(torch::kDouble)});  // [2, share]
  const torch::Tensor whole = torch::zeros({2, train_.batch_size}, own.options());
  whole.index_copy_(1, batch_.ids.remainder(train_.batch_size), own);
  world_.all_reduce_sum_({whole});
  StepLosses result;
  result.t = whole[0].to(torch::kLong);
  result.objective = whole[1];
  return result;
}

// Updates everything from the sums. Sends no messages, but the new weights if they are divided.
// `whole`: t and losses of all images, for the history.
void Learner::apply_(const StepLosses& whole) {
  const UpdateInfo update = optimizer_.step_();
  metrics_.add_update(update);
  if (uncertainty_) uncertainty_optimizer_->step_();
  if (history_) history_->add_(whole.t, whole.objective);
  shards_.exchange_(parameters_);
  for (nn::Ema& average : averages_) average.update_(own_);
  for (nn::Ema& average : power_averages_) average.update_(own_);
  if (!step_sums_) return;
  step_sums_->update = {update.grad_norm.to(torch::kDouble), update.skipped};
  metrics_.add(step_sums_->metrics);
  if (bins_) bins_->add_(*step_sums_->bins);
}

std::vector<LossBin> Learner::read_loss_bins() {
  return bins_ ? bins_->read(summing_world()) : std::vector<LossBin>();
}

std::optional<NoiseScaleReading> Learner::noise_scale() const {
  return noise_scale_ ? noise_scale_->read() : std::nullopt;
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
        batch.vectors = nn::no_vectors(unet_->config(), count, torch::kCPU);
        accumulate_gradient(*unet_, settings_, batch, 1.0);
        unet_->zero_grad(/*set_to_none=*/true);
      });
  rounds_ = world_.all_reduce_max({share / own})[0];
  micro_batch_ = share / rounds_;
  graph_.reset();  // captured with another number of rounds
  return micro_batch_;
}

}  // namespace ddpm::train
