#pragma once

#include "ddpm/config/fields.h"
#include "ddpm/data/factory.h"
#include "ddpm/data/loader.h"
#include "ddpm/data/view.h"
#include "ddpm/diffusion/diffusion_config.h"
#include "ddpm/diffusion/loss_weight.h"
#include "ddpm/dist/world.h"
#include "ddpm/nn/ema.h"
#include "ddpm/nn/precision.h"
#include "ddpm/nn/unet.h"
#include "ddpm/sample/sample_config.h"
#include "ddpm/train/optimizer.h"
#include "ddpm/train/train_step.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace ddpm::train {

/// [run]
struct RunConfig {
  uint64_t seed = 0;            ///< for weights, data order, noise, t and dropout; 0..2^53
  std::string device = "auto";  ///< auto (CUDA if there is a GPU), cpu, cuda or cuda:N
  int64_t threads = 0;          ///< CPU threads of the tensor library; 0: all cores
  int64_t peer_timeout = 600;   ///< seconds that a process waits for the other processes
  /// What the other processes do if one is lost.
  dist::OnLostRank on_lost_rank = dist::OnLostRank::kStop;
  int64_t min_ranks = 1;  ///< fewer processes save and stop

  bool operator==(const RunConfig&) const = default;
};
/// The keys of [run].
void fields(config::Fields& f, RunConfig& c);

/// When RUN/report.html is made.
enum class ReportTime {
  kNever,        ///< "never"; `ddpm report` makes it
  kEnd,          ///< "end": when training ends or stops
  kCheckpoints,  ///< "checkpoints": also after each save
};
constexpr auto names_of(ReportTime) { return std::array{"never", "end", "checkpoints"}; }

/// Which noise of a process' batch each image gets.
enum class NoiseCoupling {
  kIndependent,       ///< "independent": its own (Ho 2020, Algorithm 1)
  kOptimalTransport,  ///< "optimal_transport": the nearest, each once (Tong 2024, Pooladian 2023)
};
constexpr auto names_of(NoiseCoupling) { return std::array{"independent", "optimal_transport"}; }

/// [train]
struct TrainConfig {
  int64_t steps = 100000;          ///< parameter updates
  int64_t batch_size = 128;        ///< images per update
  int64_t accumulate = 1;          ///< micro-batches per update; more: less memory, same result
  bool fit_micro_batch = false;    ///< micro_batch = "auto": more micro-batches if memory is short
  double label_dropout = 0.0;      ///< share of images trained without class and vector
  double condition_dropout = 0.0;  ///< share of images trained without their condition
  double self_condition_probability = 0.5;  ///< see StepSettings
  double offset_noise = 0.0;                ///< see StepSettings
  NoiseCoupling noise_coupling = NoiseCoupling::kIndependent;
  Objective objective = Objective::kSimple;
  diffusion::ModelVariance variance = diffusion::ModelVariance::kSmall;  ///< of loss = "vlb"
  diffusion::LossWeightConfig loss;
  TimestepDrawing t_sampling = TimestepDrawing::kUniform;
  double log_sigma_mean = -1.2;  ///< of t_sampling = log_normal
  double log_sigma_std = 1.2;
  bool recompute = false;        ///< recompute blocks in the backward pass to save memory
  bool shard_optimizer = false;  ///< divide EMA weights and moments among the processes
  nn::Precision precision = nn::Precision::kFp32;
  bool deterministic = false;       ///< use only algorithms with bitwise reproducible results
  bool cuda_graph = true;           ///< "auto": steps and previews as CUDA graphs if possible
  int64_t log_every = 50;           ///< steps between lines of metrics
  int64_t checkpoint_every = 1000;  ///< steps between checkpoints
  bool background_saves = true;     ///< continue training during a save
  int64_t keep_last = 3;            ///< newest checkpoints to keep
  int64_t keep_every = 0;           ///< never remove checkpoints at multiples of this; 0: none
  int64_t sample_every = 0;         ///< steps between sample grids; 0: none
  int64_t sample_count = 64;        ///< images per grid
  /// Network calls per image of a grid (DDIM, eta 0); T if that is less.
  int64_t sample_steps = 50;
  int64_t eval_every = 0;        ///< steps between measurements of samples (RUN/best); 0: none
  int64_t eval_num = 1000;       ///< samples per measurement, by DDIM in sample_steps
  int64_t eval_patience = 0;     ///< end after so many measurements without a better one; 0: never
  int64_t holdout_every = 1000;  ///< steps between held-out losses, if data.holdout > 0
  /// Updates in a row with a non-finite gradient before training stops.
  int64_t max_bad_steps = 100;
  int64_t noise_scale_every = 0;  ///< steps between measurements of the noise scale; 0: none
  int64_t loss_bins = 0;  ///< ranges of log SNR with a loss of their own in metrics; 0: none
  ReportTime report = ReportTime::kEnd;

  bool operator==(const TrainConfig&) const = default;
};
/// The keys of [train].
void fields(config::Fields& f, TrainConfig& c);

/// The configuration of a training run. `unet` is complete only after the data is open: see
/// resolve_unet.
struct Experiment {
  RunConfig run;
  data::DataConfig data;
  nn::UNetConfig unet;
  diffusion::DiffusionConfig diffusion;
  TrainConfig train;
  OptimizerConfig optimizer;
  nn::EmaConfig ema;
  sample::SampleConfig sample;
};

/// Reads every section. Throws ConfigError at the first error; an unread key is an error. Opens and
/// allocates nothing.
Experiment read_experiment(config::Document& document);

/// Opens [data] and holds out data.holdout of its images. Rank 0 scans image files for all ranks,
/// except those listed in `index`. Throws IoError, UsageError or ConfigError.
data::Split open_data(const Experiment& experiment, config::Document& document,
                      const dist::World& world = dist::single_process(),
                      const std::filesystem::path& index = {});

/// Throws ConfigError if train.batch_size cannot be divided among `ranks` processes.
void check_shares(const Experiment& experiment, config::Document& document, int64_t ranks);

/// Throws ConfigError if `ranks` processes cannot go on without one of them, but run.on_lost_rank says
/// so. `device`: of this process.
void check_lost_ranks(const Experiment& experiment, config::Document& document, int64_t ranks,
                      const torch::Device& device);

/// The loader's options for training. Each rank reads its share of every batch.
data::LoaderOptions loader_options(const Experiment& experiment,
                                   const dist::World& world = dist::single_process());

/// The training batches, decoded in the background or kept on the device, as configured.
/// `dataset` must outlive it. Throws UsageError if data.resident = "always" is not possible.
std::unique_ptr<data::BatchSource> open_batches(const Experiment& experiment,
                                                const data::Dataset& dataset,
                                                const torch::Device& device,
                                                const dist::World& world = dist::single_process());

/// Completes experiment.unet for the images of the data set; train.label_dropout > 0 gives a
/// class-conditional network a null class, train.condition_dropout > 0 one with a condition a null
/// condition. Throws ConfigError if they do not fit the network.
void resolve_unet(Experiment& experiment, config::Document& document, const data::Dataset& dataset);

/// Replaces train.precision = "auto" by the fastest suitable precision of the device
/// (nn::precision_on), or by fp32 if diffusion.prediction = "mu".
void resolve_precision(Experiment& experiment, const torch::Device& device);

/// parse_device for one of several processes: "auto" and "cuda" select one GPU per process.
torch::Device rank_device(const std::string& name, const dist::Launch& launch);

}  // namespace ddpm::train
