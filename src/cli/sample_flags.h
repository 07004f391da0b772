#pragma once

#include "ddpm/pipeline/sample_plan.h"

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace ddpm::cli {

/// --ckpt, --weights, --device, --precision, --deterministic, --cuda-graph, --batch, --seed,
/// --class, --vector, --vectors, --condition.
void add_network_flags(CLI::App& command, pipeline::SampleOptions& options);
/// --steps, --ddim, --ddpm, --eta, --sigma, --spacing, --clip, --guidance and its relatives.
void add_sampler_flags(CLI::App& command, pipeline::SampleOptions& options);
/// Single flags of these, for commands that set the others themselves.
void add_spacing_flag(CLI::App& command, pipeline::SampleOptions& options);
void add_clip_flag(CLI::App& command, pipeline::SampleOptions& options);
void add_guidance_flags(CLI::App& command, pipeline::SampleOptions& options);
void add_precision_flag(CLI::App& command, std::string& precision);
void add_sampling_device_flag(CLI::App& command, std::string& device);

}  // namespace ddpm::cli
