#pragma once

#include "ddpm/io/file.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/nn/power_ema.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

// Averages of any length, rebuilt from a run's power-function averages (Karras 2024, Alg. 3).

namespace ddpm::checkpoint {

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
