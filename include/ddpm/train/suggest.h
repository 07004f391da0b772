#pragma once

#include "ddpm/data/dataset.h"
#include "ddpm/train/dry_run.h"
#include "ddpm/train/experiment.h"

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <vector>

// Chooses the settings of a training from a look at the pictures and the machine.

namespace ddpm::train {

/// What the settings are chosen from.
struct Facts {
  std::filesystem::path path;   ///< of the pictures
  int64_t count = 0;            ///< pictures that can be read
  int64_t damaged = 0;          ///< pictures found that cannot be read
  data::SizeRange sizes;        ///< as stored, pixels
  bool coloured = false;        ///< whether the colours of any picture differ from grey
  std::string device = "auto";  ///< run.device
  bool gpu = false;             ///< whether that is a GPU
  uint64_t memory = std::numeric_limits<uint64_t>::max();  ///< free for this process, bytes
  std::optional<int64_t> asked_size;                       ///< data.image_size that the user gave
  double minutes = 60.0;                                   ///< for the training
};

/// Why a setting was chosen.
struct Reason {
  std::string key;  ///< "data.image_size"
  std::string text;
};

/// A training for the facts. Of the experiment only the keys that to_toml writes are chosen.
struct Suggestion {
  Experiment experiment;
  std::vector<Reason> reasons;        ///< at most one per key
  std::vector<std::string> warnings;  ///< one sentence each, with what to do
};

/// The reason of a key; "" if it has none.
std::string reason_for(const Suggestion& suggestion, const std::string& key);

/// Throws UsageError unless `size` (--size) is a multiple of 4 from 8 to 64, or of 16 up to 1024: the
/// levels of the U-Net must halve it.
void expect_possible_size(int64_t size);

/// The largest of the usual sizes (8, 12, 16, 20, 24, 28, 32, 48, 64, 96, 128) that neither
/// enlarges the smallest picture nor exceeds `limit`; 8 if all are too large.
int64_t usual_size(const data::SizeRange& sizes, int64_t limit);

/// The settings for the facts, with the length of a preset: fit_to_time_ sets the length. Images
/// have the asked size, or the usual size of at most `limit` (0: what the device is good for).
/// Reads no file.
Suggestion suggest(const Facts& facts, int64_t limit = 0);

/// The suggestion as a config with comments: its reasons, and why a key is as in the presets.
/// `notes`: lines of the comment at its beginning.
std::string to_toml(const Suggestion& suggestion, const std::vector<std::string>& notes);

/// The largest usual image size for which the time of the facts allows enough steps, at most that of
/// the suggestion; that one itself if the user asked for it. `measured`: a dry run of the suggestion.
/// A step's cost is taken as proportional to the pixels.
int64_t affordable_size(const Suggestion& suggestion, const Facts& facts,
                        const DryRunReport& measured);

/// Sets the length: train.steps for the minutes of the facts, and what depends on it: warm-up, EMA,
/// and the steps between log lines, checkpoints, sample grids and held-out losses. `measured`: a dry
/// run of the suggestion. Adds the reasons, and a warning if the steps are few.
void fit_to_time_(Suggestion& suggestion, const Facts& facts, const DryRunReport& measured);

/// The predicted seconds of the training, including sample grids and held-out losses.
double suggested_seconds(const Suggestion& suggestion, const Facts& facts,
                         const DryRunReport& measured);

}  // namespace ddpm::train
