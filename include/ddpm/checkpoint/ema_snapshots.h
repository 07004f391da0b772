#pragma once

#include "ddpm/checkpoint/store.h"
#include "ddpm/nn/unet.h"

#include <cstdint>
#include <filesystem>
#include <vector>

#include <torch/types.h>

// RUN/ema_snapshots: a run's power-function averages at regular steps, from which averages of other
// lengths are rebuilt (rebuilt_ema.h). A snapshot is written like a checkpoint: a folder step-N
// with power-LENGTH.safetensors and a MANIFEST of checksums. None is removed while the run goes on.

namespace ddpm::checkpoint {

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

}  // namespace ddpm::checkpoint
