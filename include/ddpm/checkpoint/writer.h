#pragma once

#include "ddpm/checkpoint/content.h"
#include "ddpm/checkpoint/store.h"

#include <filesystem>
#include <future>
#include <optional>
#include <string>

namespace ddpm::checkpoint {

/// What became of a save.
struct SaveOutcome {
  int64_t step = 0;
  std::filesystem::path folder;  ///< of the published checkpoint
  std::string problem;           ///< why there is none; "" where there is
  double seconds = 0.0;          ///< of writing
  bool ok() const { return problem.empty(); }
};

/// Writes checkpoints in a thread of its own, one at a time, and removes what the store's policy
/// does not keep.
class CheckpointWriter {
 public:
  /// `store` must outlive it and is its alone while busy.
  explicit CheckpointWriter(CheckpointStore& store);
  /// Waits for the save under way.
  ~CheckpointWriter() = default;

  /// Only where nothing is under way.
  void start(CheckpointContent content);
  /// A save is under way, or its outcome has not been taken.
  bool busy() const { return under_way_.valid(); }
  /// Takes the outcome of a save that has ended.
  std::optional<SaveOutcome> poll();
  /// Waits for the save under way, if any, and takes its outcome.
  std::optional<SaveOutcome> wait();

 private:
  CheckpointStore& store_;
  std::future<SaveOutcome> under_way_;  // its destructor waits
};

}  // namespace ddpm::checkpoint
