#pragma once

#include "sample_plan.h"

namespace CLI {
class App;
}

namespace ddpm::cli {

/// --ckpt, --weights, --device, --precision, --deterministic, --cuda-graph, --batch, --seed,
/// --class.
void add_network_flags(CLI::App& command, SampleOptions& options);
/// --steps, --ddim, --ddpm, --eta, --sigma, --spacing, --clip, --guidance and its relatives.
void add_sampler_flags(CLI::App& command, SampleOptions& options);
/// Single flags of these, for commands that set the others themselves.
void add_spacing_flag(CLI::App& command, SampleOptions& options);
void add_clip_flag(CLI::App& command, SampleOptions& options);
void add_guidance_flags(CLI::App& command, SampleOptions& options);

}  // namespace ddpm::cli
