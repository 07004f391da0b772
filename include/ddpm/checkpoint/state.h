#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace ddpm::checkpoint {

/// A run's state besides its tensors: state.json. Order of data, noise, t, dropout and learning
/// rate are functions of seed and step, so no generator state is needed.
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
/// `path` is for messages. Throws IoError if the text is not a state.json that this version can
/// read.
TrainingState parse_training_state(const std::filesystem::path& path, const std::string& text);
/// The same of a checkpoint's file.
TrainingState read_training_state(const std::filesystem::path& checkpoint);

}  // namespace ddpm::checkpoint
