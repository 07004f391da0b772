#pragma once

#include "ddpm/cli/app.h"

namespace ddpm::cli {

/// `ddpm eval likelihood` and `ddpm eval sweep`.
void add_eval_likelihood(CLI::App& eval, Command& chosen);
void add_eval_sweep(CLI::App& eval, Command& chosen);

}  // namespace ddpm::cli
