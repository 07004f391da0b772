#pragma once

#include "ddpm/dist/launch.h"
#include "ddpm/dist/world.h"

#include <chrono>
#include <cstdint>
#include <string>

#include <torch/types.h>

namespace ddpm::cli {

/// How messages look on stderr. Set it for spdlog.
const char* console_pattern();

/// Meets the other processes that a launcher started with this one. From here on only rank 0 logs
/// below the level of warnings. `timeout`: how long one waits for another, now and later. Adds the
/// program's version to the settings that must be equal on all ranks.
dist::World join(const dist::Launch& launch, const torch::Device& device,
                 std::chrono::seconds timeout, dist::Identity identity,
                 dist::OnLostRank on_lost_rank = dist::OnLostRank::kStop);

/// From here on this process logs as rank 0 does.
void log_as_main();

/// How this process was started, from its environment.
dist::Launch detected_launch();

/// This process among those that sample images together, and its device.
struct Processes {
  dist::World world;
  torch::Device device;
};
/// Joins them and sets this process's CPU threads. They communicate only at the end, so the timeout
/// is a week. All must have the same command line and the same `settings`.
Processes join_to_sample(const dist::Launch& launch, const std::string& device,
                         dist::Facts settings = {});

}  // namespace ddpm::cli
