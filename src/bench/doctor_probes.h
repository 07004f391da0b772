#pragma once

#include "ddpm/bench/doctor.h"
#include "doctor_rules.h"

#include <filesystem>
#include <string>
#include <vector>

#include <torch/types.h>

// The checks of ddpm doctor that do some work: files, images, training steps.

namespace ddpm::bench {

/// Writes, syncs and reads a file of 64 MB in `folder`, or what is done in a few seconds of each.
/// Throws IoError.
DiskRates measure_disk(const std::filesystem::path& folder);

/// Reads images of a data set for up to three seconds. `data` empty: says that it was not asked to.
Finding check_data(const std::filesystem::path& data);

/// Training steps and network calls of a small network on `device`, and a checkpoint of it in
/// `folder`, written, verified, read and compared. About ten seconds.
std::vector<Finding> check_speed(const torch::Device& device);
Finding check_checkpoint(const torch::Device& device, const std::filesystem::path& folder);

/// A finding from an error's message, which ends in "; what to do" or in " (what to do)".
Finding from_message(const std::string& check, Health health, const std::string& message);

}  // namespace ddpm::bench
