#include "ddpm/base/signals.h"
#include "ddpm/cli/app.h"
#include "ddpm/eval/paired.h"
#include "ddpm/io/json_text.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/pipeline/inputs.h"
#include "ddpm/pipeline/sample_images.h"
#include "ddpm/pipeline/tasks.h"
#include "estimates.h"
#include "flags.h"
#include "output_path.h"
#include "sample_flags.h"
#include "sample_run.h"
#include "shared_flags.h"

#include <algorithm>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace ddpm::cli {
namespace {

struct EncodeOptions {
  pipeline::SampleOptions sample;
  std::vector<std::string> images;
  std::string out = "noise.safetensors";
};

struct InterpolateOptions {
  pipeline::SampleOptions sample;
  std::vector<std::string> between;
  int64_t frames = 9;
};

// In dB; infinite if they are equal, which JSON writes as null.
std::vector<double> psnr_of_each(const torch::Tensor& a, const torch::Tensor& b) {
  const torch::Tensor decibels = eval::psnr(a, b).contiguous();
  return {decibels.const_data_ptr<double>(), decibels.const_data_ptr<double>() + decibels.numel()};
}

// The command that decodes the noise, with the settings that decide its images.
std::string decode_command(const EncodeOptions& o, const pipeline::SamplePlan& plan) {
  std::string command = fmt::format("ddpm sample --ckpt {} --ddim --steps {} --clip none",
                                    plan.network->path.string(), plan.config.steps);
  if (o.sample.spacing) command += " --spacing " + *o.sample.spacing;
  if (!plan.classes.empty()) command += fmt::format(" --class '#{}'", plan.classes.front());
  if (!o.sample.vector.empty()) command += fmt::format(" --vector='{}'", o.sample.vector);
  if (!o.sample.vectors.empty()) command += fmt::format(" --vectors '{}'", o.sample.vectors);
  if (plan.network->sample.guidance.weight != 1.0) command += " --guidance 1";
  if (plan.network->sample.dynamic_threshold > 0)
    command += " --dynamic-threshold 0 --dynamic-threshold-max 0";
  return command + " --init-noise " + o.out;
}

void print_encoded(const EncodeOptions& o, const pipeline::SamplePlan& plan,
                   const std::vector<double>& quality) {
  if (o.sample.json) {
    fmt::print("{}\n", io::json_text({{"noise", o.out},
                                      {"images", o.images},
                                      {"steps", plan.config.steps},
                                      {"psnr", quality}}));
    return;
  }
  for (size_t i = 0; i < o.images.size(); ++i)
    fmt::print("{}: decoded again with {:.1f} dB PSNR\n", o.images[i], quality[i]);
  fmt::print("decode it with: {}\n", decode_command(o, plan));
}

int run_encode(EncodeOptions o) {
  const EndOnSignal ending("nothing was written");
  const Processes alone = join_alone("ddpm encode", o.sample);
  expect_own_tensors("--out", o.out, "x_T");
  o.sample.num = std::ssize(o.images);
  o.sample.ddim = true;
  o.sample.clip = "none";
  o.sample.dynamic_threshold = o.sample.dynamic_threshold_max = 0.0;
  o.sample.guidance = 1.0;
  pipeline::SamplePlan plan = pipeline::plan_sampling(o.sample);
  settle_(plan, o.sample, alone);
  pipeline::expect_one_class(plan, "encoded images");
  for (const std::string& image : o.images) expect_beside_input("--out", o.out, "an image", image);
  const torch::Tensor pixels =
      pipeline::read_inputs(o.images, plan.network->description.unet.image);
  const nn::UNet unet = pipeline::load_unet(plan);
  const torch::Tensor x_T = pipeline::encoded(plan, unet, pixels);
  io::write_safetensors(o.out, {{"x_T", x_T.cpu().to(torch::kFloat).contiguous()}});
  print_encoded(o, plan, psnr_of_each(pixels, pipeline::decoded(plan, unet, x_T)));
  return kOk;
}

int run_interpolate(InterpolateOptions o) {
  StopSignal signal;
  const Processes alone = join_alone("ddpm interpolate", o.sample);
  pipeline::SamplePlan plan = pipeline::plan_sampling(o.sample);
  settle_(plan, o.sample, alone);
  const std::vector<pipeline::NoiseEnd> ends = pipeline::noise_ends(o.between);
  pipeline::interpolate_(plan, o.sample, ends, o.frames);
  plan.generate.initial_noise = pipeline::noise_of_way(plan, ends, o.frames);
  return sample_to_folder(o.sample, plan, alone, signal);
}

}  // namespace

void add_encode(CLI::App& app, Command& chosen) {
  auto o = std::make_shared<EncodeOptions>();
  CLI::App* command = app.add_subcommand(
      "encode", "Find the noise that DDIM turns into given images, and say how exactly it does");
  command->add_option("--image", o->images, "the images, of the network's size")
      ->required()
      ->type_name("FILE...");
  add_network_flags(*command, o->sample);
  command->add_option("--steps", o->sample.steps, "DDIM steps; more is more exact (default: all T)")
      ->check(whole(1, int64_t{1} << 40));
  add_spacing_flag(*command, o->sample);
  command->add_option("--out", o->out, "the noise: x_T [N,C,H,W] in a .safetensors")
      ->type_name("FILE")
      ->capture_default_str();
  add_json_flag(*command, o->sample.json);
  command->footer("Example:\n  ddpm encode --ckpt runs/mine --image a.png b.png --steps 200");
  command->callback([o, &chosen] { chosen = [o] { return run_encode(*o); }; });
}

void add_interpolate(CLI::App& app, Command& chosen) {
  auto o = std::make_shared<InterpolateOptions>();
  CLI::App* command = app.add_subcommand(
      "interpolate", "Sample the way from one image to another, on the sphere of their noises");
  command
      ->add_option("--between", o->between,
                   "numbers of images: those of ddpm sample with the same seed, or rows of "
                   "--init-noise (ddpm encode); 5:3 is image 3 of seed 5")
      ->required()
      ->delimiter(',')
      ->type_name("I,J,...");
  command->add_option("--frames", o->frames, "images from one to the next, both included")
      ->check(whole(2, 10000))
      ->capture_default_str();
  add_network_flags(*command, o->sample);
  add_sampler_flags(*command, o->sample);
  command
      ->add_option("--init-noise", o->sample.init_noise,
                   "take the ends from this .safetensors: x_T [N,C,H,W]")
      ->type_name("FILE");
  command->add_flag("--animate", o->sample.animate,
                    "also write the way forth and back as an animated PNG, next to the folder: "
                    "FOLDER-animation.png");
  add_output_flags(*command, o->sample);
  command->footer(
      "Example:\n"
      "  ddpm interpolate --ckpt runs/mine --between 3,17 --frames 9 --steps 50 --ddim");
  command->callback([o, &chosen] { chosen = [o] { return run_interpolate(*o); }; });
}

}  // namespace ddpm::cli
