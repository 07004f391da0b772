// The Python program that samples from a folder if diffusers' pipelines cannot.
#include "ddpm/exchange/write.h"
#include "diffusers_config_solvers.h"

#include <fmt/format.h>

namespace ddpm::exchange {
namespace {

std::string class_of(const Model& model) {
  return scheduler_class(model.sample, model.description.diffusion);
}

}  // namespace

std::string pipeline_obstacle(const Model& model) {
  const nn::UNetConfig& c = model.description.unet;
  const std::string scheduler = class_of(model);
  if (c.class_conditional)
    return "the network is class-conditional, and DDPMPipeline and DDIMPipeline pass no classes";
  if (c.learned_variance && scheduler == "DDIMScheduler")
    return "the network has a learned variance, which DDIMPipeline does not take off its output";
  if (c.learned_variance && scheduler != "DDPMScheduler")
    return fmt::format("the network has a learned variance, which {} does not take off its output",
                       scheduler);
  return solver_obstacle(scheduler);
}

namespace {

// The lines that set `output`. With guidance, no class is class number `image.classes`.
std::string prediction_lines(const nn::UNetConfig& c, double guidance,
                             const std::string& scheduler) {
  const std::string part = scheduler != "DDPMScheduler" && c.learned_variance
                               ? fmt::format("[:, :{}]", c.image.channels)
                               : "";
  const bool scaled = scales_input(scheduler);
  const std::string input = scaled ? "scaled" : "x";
  const std::string scaling = scaled ? "        scaled = scheduler.scale_model_input(x, t)\n" : "";
  if (!c.null_class || guidance == 1.0)
    return fmt::format("{}        output = unet({}, t{}).sample{}", scaling, input,
                       c.class_conditional ? ", class_labels=classes" : "", part);
  return fmt::format(
      R"({0}        both = torch.cat([classes, torch.full_like(classes, {1})])  # the last: no class
        output, without = unet(torch.cat([{2}, {2}]), t, class_labels=both).sample{3}.chunk(2)
        output = without + {4} * (output - without))",
      scaling, c.image.classes, input, part, guidance);
}

}  // namespace

std::string sampling_script(const Model& model) {
  const nn::UNetConfig& c = model.description.unet;
  const std::string scheduler = class_of(model);
  const diffusion::Schedule schedule(model.description.diffusion.schedule);
  sample::SampleConfig sampling = model.sample;
  if (sampling.spacing == sample::Spacing::kOptimal)  // as many; which, measurements must say
    sampling.spacing = sample::Spacing::kTrailing;
  const auto steps = std::ssize(sample::timestep_plan(schedule, sampling));
  const std::string count = c.class_conditional ? "len(classes)" : "count";
  const double guidance = model.sample.guidance.weight;
  return fmt::format(
      R"(#!/usr/bin/env python3
# Samples images from this folder: {obstacle}.
# usage: python3 sample.py {usage}
import pathlib
import sys

import torch
from diffusers import {scheduler}, UNet2DModel
from PIL import Image

here = pathlib.Path(__file__).parent
unet = UNet2DModel.from_pretrained(here / "unet").eval()
scheduler = {scheduler}.from_pretrained(here / "scheduler")
scheduler.set_timesteps({steps})
{arguments}
torch.manual_seed(0)
x = torch.randn({count}, {channels}, {height}, {width}){scale}
with torch.no_grad():
    for t in scheduler.timesteps:
{prediction}
        x = scheduler.step(output, t, x).prev_sample
pixels = ((x.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
for i, image in enumerate(pixels):
    Image.fromarray(image.squeeze()).save(f"sample-{{i:03}}.png")
)",
      fmt::arg("obstacle", pipeline_obstacle(model)),
      fmt::arg("usage", c.class_conditional ? "[CLASS...]   (numbers from 0; default: each once)"
                                            : "[COUNT]"),
      fmt::arg("scheduler", scheduler), fmt::arg("steps", steps),
      fmt::arg("scale", scales_input(scheduler) ? " * scheduler.init_noise_sigma" : ""),
      fmt::arg("arguments", c.class_conditional
                                ? "classes = torch.tensor([int(word) for word in sys.argv[1:]] or "
                                  "list(range(" +
                                      std::to_string(c.image.classes) + ")))"
                                : "count = int(sys.argv[1]) if len(sys.argv) > 1 else 1"),
      fmt::arg("count", count), fmt::arg("channels", c.image.channels),
      fmt::arg("height", c.image.height), fmt::arg("width", c.image.width),
      fmt::arg("prediction", prediction_lines(c, guidance, scheduler)));
}

}  // namespace ddpm::exchange
