#pragma once

#include "ddpm/checkpoint/state.h"
#include "ddpm/checkpoint/store.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/nn/ema.h"
#include "ddpm/nn/unet.h"

#include <filesystem>
#include <future>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <torch/types.h>

// The files of a checkpoint (docs/checkpoints.md): model.safetensors, one ema*.safetensors per
// decay, one power-LENGTH.safetensors per power-function average, optimizer.safetensors,
// training.safetensors if there are extras, model.toml (how to use the network), config.toml (how it
// was trained), state.json.

namespace ddpm::checkpoint {

/// The tensors of a checkpoint, in host memory. Each list has one tensor per parameter.
struct TrainingTensors {
  std::vector<torch::Tensor> weights;
  std::vector<std::vector<torch::Tensor>> averages;
  std::vector<std::vector<torch::Tensor>> power_averages;
  std::vector<torch::Tensor> first_moments, second_moments;
  torch::Tensor updates;  ///< float32 scalar
  /// What only some ways of training have, by name: the losses of each t, u(t), ...
  std::vector<io::NamedTensor> extras = {};
};

/// A checkpoint in memory. It is a copy, so that training can continue while it is written.
struct CheckpointContent {
  int64_t step = 0;
  std::vector<std::pair<std::string, std::vector<io::NamedTensor>>> tensors;  ///< by file
  std::vector<std::pair<std::string, std::string>> texts;                     ///< by file
};

/// Builds a checkpoint's files in memory. Only the parameters' names are read from `unet`.
CheckpointContent checkpoint_content(const nn::UNetImpl& unet, const TrainingTensors& tensors,
                                     const TrainingState& state, const std::string& model_toml,
                                     const std::string& config_toml);

/// Writes and publishes a checkpoint. Uses no tensor operations, which would take CPU threads from
/// training. Throws IoError.
std::filesystem::path write_checkpoint(CheckpointStore& store, const CheckpointContent& content);

/// Reads a checkpoint into `tensors`, which have the network's shapes, without rounding. Throws
/// IoError if it is of another network or has other averages than `ema`. An extra that the checkpoint
/// lacks, because it was trained in another way, stays as it is.
TrainingState read_checkpoint(const std::filesystem::path& checkpoint, const nn::UNetImpl& unet,
                              const nn::EmaConfig& ema, const TrainingTensors& tensors);

/// The name of the i-th EMA weights: "ema", "ema-2", ... Their file is NAME.safetensors.
std::string ema_name(size_t i);

/// The name of the power-function average of this length: "power-0.05". Its file is
/// NAME.safetensors.
std::string power_name(double length);

/// One set of a checkpoint's weights.
struct WeightsChoice {
  std::string
      name;  ///< "raw", "ema", "ema-2", ...; "" if the checkpoint has one set and does not say
             ///< which (an imported network)
  std::filesystem::path file;
};

/// The weights of this name. "" selects the EMA weights if there are any, else the only weights.
/// Throws UsageError, naming --weights, if the checkpoint does not have them.
WeightsChoice choose_weights(const std::filesystem::path& checkpoint, const std::string& wanted);

/// The outcome of a save.
struct SaveOutcome {
  int64_t step = 0;
  std::filesystem::path folder;  ///< of the published checkpoint
  std::string problem;           ///< why nothing was published; "" if it was
  double seconds = 0.0;          ///< of writing
  bool ok() const { return problem.empty(); }
};

/// Writes checkpoints in its own thread, one at a time, and removes those that the store's policy
/// does not keep.
class CheckpointWriter {
 public:
  /// `store` must outlive the writer and must not be used elsewhere while the writer is busy.
  explicit CheckpointWriter(CheckpointStore& store);
  /// Waits for the current save.
  ~CheckpointWriter() = default;

  /// Starts a save. No save may be in progress.
  void start(CheckpointContent content);
  /// Whether a save is in progress, or its outcome was not yet returned.
  bool busy() const { return under_way_.valid(); }
  /// Returns the outcome of a finished save once, without waiting.
  std::optional<SaveOutcome> poll();
  /// Waits for the current save, if any, and returns its outcome.
  std::optional<SaveOutcome> wait();

 private:
  CheckpointStore& store_;
  std::future<SaveOutcome> under_way_;  // the destructor waits for it
};

}  // namespace ddpm::checkpoint
