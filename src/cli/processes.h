#pragma once

#include "ddpm/dist/launch.h"
#include "ddpm/dist/world.h"

#include <chrono>
#include <cstdint>
#include <string>

#include <torch/types.h>

namespace ddpm::cli {

/// Meets the other processes that a launcher started with this one. Rank 0 speaks for all; from
/// here on the others only warn. `timeout`: how long one waits for another, now and later.
dist::World join(const dist::Launch& launch, const torch::Device& device,
                 std::chrono::seconds timeout);

/// "the CPU, 2 threads" or "cuda:0, 2 CPU threads".
std::string describe_device(const torch::Device& device);

/// CPU threads for this process: `configured` where it is not 0; else its share of the machine's
/// cores, or 0 (all) where it is alone or the environment says how many.
int64_t threads_of_rank(int64_t configured, const dist::Launch& launch);

/// How the environment says that this process was started.
dist::Launch detected_launch();

/// This process among those that draw images together: they share nothing until the last has ended,
/// and wait as long. With its device and its share of the cores.
struct Processes {
  dist::World world;
  torch::Device device;
};
Processes join_to_draw(const dist::Launch& launch, const std::string& device);

}  // namespace ddpm::cli
