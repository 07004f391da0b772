#pragma once

#include "ddpm/pipeline/sample_plan.h"

#include <torch/types.h>

namespace ddpm::pipeline {

/// Input i mod n for result i: uint8 [n,C,H,W] to [num,C,H,W] in [-1,1], on the plan's device.
torch::Tensor inputs_in_turn(const SamplePlan& plan, const torch::Tensor& inputs);

}  // namespace ddpm::pipeline
