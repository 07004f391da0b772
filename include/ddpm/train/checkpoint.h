#pragma once

#include "ddpm/nn/ema.h"
#include "ddpm/nn/unet.h"
#include "ddpm/train/checkpoint_store.h"
#include "ddpm/train/optimizer.h"

#include <filesystem>
#include <string>
#include <vector>

// What a checkpoint holds (docs/checkpoints.md): model.safetensors, one ema*.safetensors a decay,
// optimizer.safetensors, model.toml (how to use the network), config.toml (how it was trained),
// state.json.

namespace ddpm::train {

/// Where a run stands, beside its tensors: state.json. Order of data, noise, t, dropout and
/// learning rate are functions of seed and step, so no generator state is needed.
struct TrainingState {
  int64_t step = 0;
  int64_t samples_seen = 0;
  uint64_t seed = 0;
  int64_t batch_size = 0;
  int64_t dataset_size = 0;
  int64_t world_size = 1;        ///< processes: another number can change the last bits of a sum
  int64_t threads = 0;           ///< CPU threads: another number can change the last bits of a sum
  int64_t skipped_steps = 0;     ///< without an update, over the whole run
  int64_t skipped_in_a_row = 0;  ///< the last of them, up to this step: see train.max_bad_steps
  double seconds = 0.0;          ///< of training, over all of the run's sessions
  std::vector<double> ema_decays;  ///< of ema.safetensors, ema-2.safetensors, ...
  std::string dataset;             ///< for people
  std::string precision;
  std::string torch_version;
  std::string saved_at;  ///< ISO 8601, UTC
};

std::string to_json_text(const TrainingState& state);
/// Throws IoError where the file is not a state.json that this version can read.
TrainingState read_training_state(const std::filesystem::path& checkpoint);

/// Everything that a checkpoint is made from and restored to. It owns nothing.
struct TrainingObjects {
  nn::UNetImpl& unet;
  std::vector<nn::Ema>& averages;
  Optimizer& optimizer;
};

/// Writes and publishes the checkpoint of state.step.
std::filesystem::path save_checkpoint(CheckpointStore& store, const TrainingObjects& objects,
                                      const TrainingState& state, const std::string& model_toml,
                                      const std::string& config_toml);

/// Restores weights, averages and optimizer in place, bit for bit. Throws IoError where the
/// checkpoint is of another network, or keeps other EMA decays than `objects`.
TrainingState load_checkpoint(const std::filesystem::path& checkpoint,
                              const TrainingObjects& objects);

/// ema.safetensors, ema-2.safetensors, ...: the i-th average's file.
std::string ema_file_name(size_t i);

}  // namespace ddpm::train
