#pragma once

#include "ddpm/pipeline/sample_plan.h"

namespace CLI {
class App;
}

namespace ddpm::cli {

/// The command's flags that the user gave, once it is parsed.
pipeline::GivenFlags given_flags(const CLI::App& command);

}  // namespace ddpm::cli
