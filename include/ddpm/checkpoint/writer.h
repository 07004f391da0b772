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
