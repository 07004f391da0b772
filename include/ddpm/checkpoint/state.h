#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace ddpm::checkpoint {

/// A run's state without its tensors: state.json. Data order, noise, t, dropout and learning rate
/// depend only on seed and step, so no generator state is needed.
struct TrainingState {
  int64_t step = 0;
  int64_t samples_seen = 0;
  uint64_t seed = 0;
  int64_t batch_size = 0;
  int64_t dataset_size = 0;
  int64_t world_size = 1;          ///< processes; another number can change the last bits of sums
  int64_t threads = 0;             ///< CPU threads; another number can change the last bits of sums
  int64_t skipped_steps = 0;       ///< steps without an update in the whole run
  int64_t skipped_in_a_row = 0;    ///< such steps in a row up to this step; see train.max_bad_steps
  double seconds = 0.0;            ///< of training, over all sessions of the run
  std::vector<double> ema_decays;  ///< of ema.safetensors, ema-2.safetensors, ...
  std::vector<double> power_lengths;  ///< of power-0.05.safetensors, ...
  std::string dataset;                ///< description, for messages
  std::string fingerprint;            ///< of the data set; "" in files of former versions
  std::string precision;
  std::string torch_version;
  std::string saved_at;  ///< ISO 8601, UTC
};

std::string to_json_text(const TrainingState& state);
/// Throws IoError, naming `path`, if the text is not a state.json that this version can read.
TrainingState parse_training_state(const std::filesystem::path& path, const std::string& text);
/// The same for a checkpoint's file.
TrainingState read_training_state(const std::filesystem::path& checkpoint);

}  // namespace ddpm::checkpoint
