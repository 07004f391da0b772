#pragma once

#include "ddpm/eval/images.h"
#include "ddpm/eval/self_check.h"
#include "ddpm/nn/unet.h"
#include "ddpm/pipeline/sample_plan.h"
#include "ddpm/sample/generate.h"
#include "ddpm/sample/sample_config.h"

#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <torch/types.h>

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

/// The noise x_T that the plan's DDIM turns into these images (sample::encode): uint8 [num,C,H,W] to
/// [num,C,H,W] on the plan's device.
torch::Tensor encoded(const SamplePlan& plan, const nn::UNet& unet, const torch::Tensor& pixels);

/// The images of that noise by the plan's DDIM: uint8 [num,C,H,W] on the CPU.
torch::Tensor decoded(const SamplePlan& plan, const nn::UNet& unet, const torch::Tensor& x_T);

/// The plan's images, sampled when they are asked for, as `ddpm sample` does. Reads the weights.
eval::Samples samples_of(const SamplePlan& plan);

/// The settings of a plan's images besides the sampler's: checkpoint, weights, precision, classes
/// and seed.
nlohmann::ordered_json samples_json(const SamplePlan& plan, const SampleOptions& options);

/// What `ddpm check` checks: the plan's network on its device, in other precisions, with other
/// classes. `plan` must outlive it. Reads the weights.
eval::CheckSubject check_subject(const SamplePlan& plan);

}  // namespace ddpm::pipeline
