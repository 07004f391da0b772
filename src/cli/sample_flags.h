#pragma once

#include "sample_plan.h"

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace ddpm::cli {

/// What --method takes: the methods, and auto.
std::vector<std::string> method_words();

/// --ckpt, --weights, --device, --precision, --deterministic, --cuda-graph, --batch, --seed,
/// --class, --vector, --vectors, --condition.
void add_network_flags(CLI::App& command, SampleOptions& options);
/// --steps, --ddim, --ddpm, --eta, --sigma, --spacing, --clip, --guidance and its relatives.
void add_sampler_flags(CLI::App& command, SampleOptions& options);
/// Single flags of these, for commands that set the others themselves.
void add_spacing_flag(CLI::App& command, SampleOptions& options);
void add_clip_flag(CLI::App& command, SampleOptions& options);
void add_guidance_flags(CLI::App& command, SampleOptions& options);
void add_precision_flag(CLI::App& command, std::string& precision);
void add_sampling_device_flag(CLI::App& command, std::string& device);

}  // namespace ddpm::cli
