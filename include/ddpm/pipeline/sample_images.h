#pragma once

#include "ddpm/nn/unet.h"
#include "ddpm/pipeline/sample_plan.h"
#include "ddpm/sample/generate.h"
#include "ddpm/sample/sample_config.h"

#include <vector>

namespace ddpm::pipeline {

/// The plan's network with its weights, on its device, in eval mode. Throws IoError.
nn::UNet load_unet(const SamplePlan& plan);

/// Samples `options.images` with that network and the plan's settings (sample::generate).
sample::GenerateResult sample_images(const SamplePlan& plan, const nn::UNet& unet,
                                     const sample::GenerateOptions& options,
                                     const sample::Sink& sink);

/// The pixels of samples [B,C,H,W] in the plan's depth, on the CPU: uint8, or int32 of 0..65535.
torch::Tensor pixels_of(const SamplePlan& plan, const torch::Tensor& batch);

/// Fits method bespoke to that network, with the plan's guidance and classes (sample::fit_bespoke).
std::vector<sample::BespokeStep> fit_to(const SamplePlan& plan, const nn::UNet& unet,
                                        const sample::GenerateOptions& options);

}  // namespace ddpm::pipeline
