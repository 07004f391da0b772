#pragma once

#include "ddpm/checkpoint/content.h"
#include "ddpm/checkpoint/store.h"

#include <filesystem>
#include <future>
#include <optional>
#include <string>

namespace ddpm::checkpoint {

/// The outcome of a save.
struct SaveOutcome {
  int64_t step = 0;
  std::filesystem::path folder;  ///< of the published checkpoint
  std::string problem;           ///< why there is none; "" if there is one
  double seconds = 0.0;          ///< of writing
  bool ok() const { return problem.empty(); }
};

/// Writes checkpoints in its own thread, one at a time, and removes those that the store's policy
/// does not keep.
class CheckpointWriter {
 public:
  /// `store` must outlive it and must not be used by others while busy.
  explicit CheckpointWriter(CheckpointStore& store);
  /// Waits for the present save.
  ~CheckpointWriter() = default;

  /// Only if no save is in progress.
  void start(CheckpointContent content);
  /// Whether a save is in progress or its outcome has not been taken.
  bool busy() const { return under_way_.valid(); }
  /// Returns the outcome of a finished save, once.
  std::optional<SaveOutcome> poll();
  /// Waits for the present save, if any, and returns its outcome.
  std::optional<SaveOutcome> wait();

 private:
  CheckpointStore& store_;
  std::future<SaveOutcome> under_way_;  // its destructor waits
};

}  // namespace ddpm::checkpoint
