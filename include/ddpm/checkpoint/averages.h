#pragma once

#include "ddpm/checkpoint/store.h"
#include "ddpm/io/file.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/nn/ema.h"
#include "ddpm/nn/unet.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::checkpoint {

/// A warning: "after 500 steps the average of decay 0.9999 still is 95 % the weights that training
/// began with". "" if the initial weights' share is at most nn::kYoungShare.
std::string young_average(double decay, bool warmup, int64_t steps);

/// The same for a checkpoint's `weights`: "raw", "ema", "ema-2", ...
std::string young_average(const std::filesystem::path& checkpoint, const std::string& weights);

// RUN/ema_snapshots: a run's power-function averages at regular steps, from which averages of other
// lengths are rebuilt (below). A snapshot is written like a checkpoint: a folder step-N with
// power-LENGTH.safetensors and a MANIFEST of checksums. None is removed while the run goes on.

/// RUN/ema_snapshots.
std::filesystem::path snapshots_of(const std::filesystem::path& run);
/// That of the run which the checkpoint's folder lies in; "" if it lies in none. `checkpoint` may be
/// "." or a name alone.
std::filesystem::path snapshots_beside(const std::filesystem::path& checkpoint);

/// The tensor in host memory as a snapshot stores it: float16, or float32 if a number is beyond the
/// range of float16.
torch::Tensor stored_tensor(const torch::Tensor& average);

/// The averages after `step` updates. Each list has one tensor per parameter.
struct EmaSnapshot {
  int64_t step = 0;
  std::vector<double> lengths;
  std::vector<std::vector<torch::Tensor>> averages;  ///< one list per length
};

/// Writes and publishes a snapshot. Throws IoError; then nothing is left of it.
void write_snapshot(CheckpointStore& store, const nn::UNetImpl& unet, const EmaSnapshot& snapshot);

/// Prepares the snapshots of a run that goes on from `checkpoint` ("": from the beginning), which is
/// of `step`. Later snapshots are removed, since they will be written again. If the checkpoint is
/// another run's, that run's snapshots up to `step` are linked or copied. Throws IoError.
void continue_snapshots(CheckpointStore& store, const std::filesystem::path& checkpoint,
                        int64_t step);

// Averages of any length, rebuilt from a run's power-function averages (Karras 2024, Alg. 3).

/// A relative error of a profile that is hardly seen, and the largest that is not refused.
constexpr double kGoodProfile = 0.01, kUsableProfile = 0.1;

/// A power-function average on disk.
struct StoredAverage {
  double length = 0.0;
  int64_t step = 0;
  std::filesystem::path file;
  io::FileSum sum;  ///< when it was written
};

/// The averages of a checkpoint, then those of its run's snapshots at earlier steps, newest first.
/// Empty if the checkpoint has none. A snapshot without a readable MANIFEST is left out, with a
/// warning. Throws IoError.
std::vector<StoredAverage> stored_averages(const std::filesystem::path& checkpoint);

/// Their profiles.
nn::ProfileSpan span_of(const std::vector<StoredAverage>& averages);

/// How to rebuild the average of `length` after `step` updates: a sum of stored averages.
struct RebuiltEma {
  double length = 0.0;
  int64_t step = 0;
  std::vector<StoredAverage> averages;
  nn::ProfileFit fit;  ///< of the average's profile
};

/// The sum for the average of `length` at the checkpoint's step. Reads no tensors. Warns above
/// kGoodProfile. Throws UsageError if the checkpoint has no such averages, or above kUsableProfile.
RebuiltEma rebuilt_ema(const std::filesystem::path& checkpoint, double length);

/// Computes the sum in float64, and returns it in the type of the checkpoint's averages under the
/// parameters' names. Throws IoError if a file is damaged.
std::vector<io::NamedTensor> rebuilt_weights(const RebuiltEma& rebuilt);

/// CRC32C of the length and of the steps, lengths and checksums of all averages.
uint32_t checksum(const RebuiltEma& rebuilt);

/// The name of the rebuilt weights: "ema-length-0.07".
std::string ema_length_name(double length);
/// The length in such a name; empty if it is another name. Throws UsageError if the rest of it is
/// no length.
std::optional<double> ema_length(const std::string& weights);

/// "0.021 to 0.27", "0.05 and 0.1 to 0.2".
std::string to_text(const std::vector<nn::LengthRange>& ranges);

}  // namespace ddpm::checkpoint
