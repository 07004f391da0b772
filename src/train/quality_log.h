#pragma once

#include "ddpm/train/trainer.h"

#include <cstdint>
#include <filesystem>
#include <vector>

namespace ddpm::train {

/// RUN/quality.jsonl: what a run's samples were measured to be, and RUN/best, a copy of the best
/// checkpoint. Rank 0 alone.
class QualityLog {
 public:
  /// Reads the file without its lines after `step`. Throws IoError.
  QualityLog(std::filesystem::path run, int64_t step);

  /// Adds a measurement of the checkpoint. If it is the best so far (the smallest Frechet distance),
  /// RUN/best becomes this checkpoint, all at once. A full disk costs a warning. Returns whether it is
  /// the best.
  bool add(int64_t step, const Quality& quality, const std::filesystem::path& checkpoint);

  /// The measurements since the best one.
  int64_t since_best() const;

 private:
  struct Entry {
    int64_t step;
    double frechet;
  };
  std::filesystem::path run_;
  std::vector<Entry> entries_;
};

}  // namespace ddpm::train
