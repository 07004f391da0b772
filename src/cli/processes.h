#pragma once

#include "ddpm/config/document.h"
#include "ddpm/dist/launch.h"
#include "ddpm/dist/world.h"

#include <chrono>
#include <cstdint>
#include <string>

#include <torch/types.h>

namespace ddpm::cli {

/// Meets the other processes that a launcher started with this one. Rank 0 speaks for all; from
/// here on the others only warn. `timeout`: how long one waits for another, now and later. The
/// program itself is among the settings that all must have alike.
dist::World join(const dist::Launch& launch, const torch::Device& device,
                 std::chrono::seconds timeout, dist::Identity identity);

/// "the CPU, 2 threads" or "cuda:0, 2 CPU threads".
std::string describe_device(const torch::Device& device);

/// The settings of an effective config that all ranks of a run must have alike, as
/// "train.batch_size": "128"; not those of a machine (threads, workers, devices).
dist::Facts shared_settings(const config::Document& document);

/// How the environment says that this process was started.
dist::Launch detected_launch();

/// This process among those that draw images together: they share nothing until the last has ended,
/// and wait as long. With its device and its share of the cores. All must have been started with
/// the same command line, and have the same `settings`.
struct Processes {
  dist::World world;
  torch::Device device;
};
Processes join_to_draw(const dist::Launch& launch, const std::string& device,
                       dist::Facts settings = {});

}  // namespace ddpm::cli
