#pragma once

#include "checked_parts.h"

#include <cstdint>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// A config of `method` without clipping: S steps of trailing spacing, from T.
sample::SampleConfig chain_config(const CheckContext& context, const std::string& method,
                                  int64_t steps);

enum class Result {
  kImage,
  kStateAtLast,  ///< the state at the plan's last timestep, before the step to s = 0
};
/// What a chain of `config` makes of the subject's x_T with the noise of options.seed: [N,C,H,W]
/// float64.
torch::Tensor chain(const CheckContext& context, const diffusion::Denoiser& network,
                    const diffusion::Diffusion& diffusion, const sample::SampleConfig& config,
                    Result result = Result::kImage);

/// The timesteps of n jumps, n + 1 of them, falling, even in lambda = log(a / n): from lambda = -4 or
/// T to lambda = 1.6. Fewer if the schedule does not have so many.
std::vector<int64_t> even_times(const diffusion::Schedule& schedule, int64_t jumps);

}  // namespace ddpm::eval
