#pragma once

#include "ddpm/io/safetensors.h"
#include "ddpm/nn/unet.h"
#include "ddpm/train/checkpoint_store.h"

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <torch/types.h>

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
  std::string fingerprint;         ///< of the data set; "" in files of former versions
  std::string precision;
  std::string torch_version;
  std::string saved_at;  ///< ISO 8601, UTC
};

std::string to_json_text(const TrainingState& state);
/// Throws IoError where the file is not a state.json that this version can read.
TrainingState read_training_state(const std::filesystem::path& checkpoint);

/// The tensors of a checkpoint, in host memory; the lists have one tensor a parameter.
struct TrainingTensors {
  std::vector<torch::Tensor> weights;
  std::vector<std::vector<torch::Tensor>> averages;
  std::vector<torch::Tensor> first_moments, second_moments;
  torch::Tensor updates;  ///< float32 scalar
};

/// A checkpoint in memory, which nothing changes any more: training may go on while it is written.
struct CheckpointContent {
  int64_t step = 0;
  std::vector<std::pair<std::string, std::vector<io::NamedTensor>>> tensors;  ///< by file
  std::vector<std::pair<std::string, std::string>> texts;                     ///< by file
};

/// `unet` gives the names only.
CheckpointContent checkpoint_content(const nn::UNetImpl& unet, const TrainingTensors& tensors,
                                     const TrainingState& state, const std::string& model_toml,
                                     const std::string& config_toml);

/// Writes and publishes it. Uses no tensor operation, so that it does not take threads from
/// training. Throws IoError.
std::filesystem::path write_checkpoint(CheckpointStore& store, const CheckpointContent& content);

/// Reads a checkpoint into `tensors`, shaped for the network, bit for bit. Throws IoError where it
/// is of another network, or keeps other EMA decays than `decays`.
TrainingState read_checkpoint(const std::filesystem::path& checkpoint, const nn::UNetImpl& unet,
                              const std::vector<double>& decays, const TrainingTensors& tensors);

/// "ema", "ema-2", ...: the name of the i-th average; its file is NAME.safetensors.
std::string ema_name(size_t i);

}  // namespace ddpm::train
