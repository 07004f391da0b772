#include "sample_flags.h"

#include "ddpm/pipeline/choices.h"
#include "ddpm/sample/methods.h"
#include "flags.h"
#include "shared_flags.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace ddpm::cli {
namespace {

// Headings of --help.
constexpr const char* kSampler = "Sampler (defaults: the checkpoint's [sample] section)";
constexpr const char* kGuidance =
    "Guidance (needs train.label_dropout or train.condition_dropout, or a second network)";
constexpr const char* kDevice = "Device";

// "the method by name: ddpm = Algorithm 2 (Ho 2020), ..."
std::string method_help() {
  std::string help = "the method by name:";
  for (const sample::MethodEntry& method : sample::methods())
    help += fmt::format("{} {} = {}", help.back() == ':' ? "" : ",", method.name, method.help);
  return help +
         ", auto = the best of the run's own ddpm eval sweep; without one bespoke with fewer than "
         "15 steps and --spacing power, else dpmpp_2m_sde and --spacing trailing";
}

void add_device_flags(CLI::App& command, pipeline::SampleOptions& options) {
  add_precision_flag(command, options.precision);
  command
      .add_flag("--deterministic", options.deterministic,
                "only algorithms that give the same bits each time on a GPU")
      ->group(kDevice);
  command
      .add_option("--cuda-graph", options.cuda_graph,
                  "auto: capture the network as a CUDA graph and replay it; never")
      ->check(one_of({"auto", "never"}))
      ->group(kDevice)
      ->capture_default_str();
  add_sampling_device_flag(command, options.device);
}

}  // namespace

void add_precision_flag(CLI::App& command, std::string& precision) {
  command
      .add_option("--precision", precision,
                  "arithmetic of the network; auto: bf16 if the device multiplies it, else fp32; "
                  "tf32 is for GPUs, on the CPU it is fp32")
      ->check(one_of(config::names<nn::Precision>()))
      ->group(kDevice)
      ->capture_default_str();
}

void add_sampling_device_flag(CLI::App& command, std::string& device) {
  command.add_option("--device", device, "auto: a GPU if there is one, else the CPU")
      ->type_name("auto|cpu|cuda|cuda:N")
      ->group(kDevice)
      ->capture_default_str();
}

void add_network_flags(CLI::App& command, pipeline::SampleOptions& options) {
  command
      .add_option(
          "ckpt,--ckpt", options.checkpoint,
          "the network: a run, a checkpoint, a folder of runs, a diffusers folder, or a file "
          "of weights (default: the newest checkpoint below runs/)")
      ->type_name("PATH");
  command
      .add_option("--batch", options.batch,
                  "images per batch; affects speed and memory, not the images (default: the "
                  "checkpoint's sample.batch, usually 64)")
      ->check(whole(1, int64_t{1} << 20));
  add_seed_flag(command, options.seed);
  command
      .add_option(
          "--class", options.classes,
          "classes to sample in turn, by name or number, as in 3 or cat,dog (default: all); "
          "#3 is a number even if a class is named 3, and \\, a comma in a name")
      ->type_name("CLASS");
  auto* vector =
      command
          .add_option("--vector", options.vector,
                      "the numbers of each image, for a network with model.vector_conditional: by "
                      "name, others have their mean, as in smiling=1,age=0.3, or all in order "
                      "(default: those of training images)")
          ->type_name("NUMBERS");
  command
      .add_option("--vectors", options.vectors,
                  "one vector per image, in turn, from a .csv, .tsv, .txt, .npy or .npz file")
      ->type_name("FILE")
      ->excludes(vector);
  command
      .add_option("--condition", options.condition,
                  "what each image is made from, for a network with model.condition: a picture, or "
                  "a folder of pictures used in turn")
      ->type_name("PATH");
  add_weights_flag(command, options.weights);
  add_device_flags(command, options);
}

namespace {

void add_step_flags(CLI::App& command, pipeline::SampleOptions& options) {
  command
      .add_option(
          "--steps", options.steps,
          "denoising steps per image, 1 to T: more is slower and usually better; 50 is enough "
          "for most DDIM samples (default: all T)")
      ->check(whole(1, int64_t{1} << 40))
      ->group(kSampler);
  command
      .add_option("--steps-at", options.steps_at,
                  "the timesteps themselves, in 1..T and falling, as in 999,700,300,50")
      ->delimiter(',')
      ->type_name("T,...")
      ->excludes("--steps")
      ->group(kSampler);
  command
      .add_option("--sections", options.sections,
                  "divide T into equal sections and take so many steps from each, small t first, "
                  "as in 10,15,20 (Nichol 2021)")
      ->delimiter(',')
      ->check(whole(1, int64_t{1} << 20))
      ->type_name("N,...")
      ->excludes("--steps")
      ->excludes("--steps-at")
      ->group(kSampler);
}

void add_method_flags(CLI::App& command, pipeline::SampleOptions& options) {
  auto* ddim = command.add_flag("--ddim", options.ddim,
                                "sample by DDIM (Song 2021), the method for few steps");
  ddim->group(kSampler);
  auto* ddpm =
      command
          .add_flag("--ddpm", options.ddpm,
                    "sample by Algorithm 2 (Ho 2020), also if the checkpoint's config says ddim")
          ->excludes(ddim)
          ->group(kSampler);
  command.add_option("--method", options.method, method_help())
      ->check(one_of(pipeline::method_words()).description(""))
      ->type_name("NAME")
      ->excludes(ddim)
      ->excludes(ddpm)
      ->group(kSampler);
  command
      .add_option("--order", options.order,
                  "order of unipc (1 to 3, usually 3), deis (1 to 3, usually 3) or ipndm (1 to 4, "
                  "usually 4)")
      ->check(whole(1, 4))
      ->group(kSampler);
}

void add_noise_flags(CLI::App& command, pipeline::SampleOptions& options) {
  command
      .add_option("--eta", options.eta,
                  "randomness of DDIM: 0 deterministic, 1 as in DDPM (default: 0)")
      ->check(real(0.0, 1.0))
      ->type_name("0..1")
      ->group(kSampler);
  command
      .add_option(
          "--sigma", options.sigma,
          "variance of a step's noise: small = beta_tilde, large = beta (Ho 2020), hat = the DDIM "
          "paper's for --ddim, learned = the network's own, analytic = the optimal one, measured "
          "on first use (Bao 2022; default: small)")
      ->check(one_of(config::names<sample::Sigma>()))
      ->group(kSampler);
}

void add_projection_flags(CLI::App& command, pipeline::SampleOptions& options) {
  const auto number = [&](const char* flag, std::optional<double>& value, const char* help) {
    return command.add_option(flag, value, help)->group(kGuidance);
  };
  number("--guidance-parallel", options.guidance_parallel,
         "share of the guidance parallel to the image, which saturates it (APG, Sadat 2024; "
         "default: 1)")
      ->check(real(0.0, 1.0))
      ->type_name("0..1");
  number("--guidance-norm", options.guidance_norm,
         "largest norm of an image's guidance before W (APG; default: 0, none)")
      ->check(real(0.0, 1e9))
      ->type_name("R");
  number("--guidance-momentum", options.guidance_momentum,
         "share of the former guidance that is added, -0.5 in APG (default: 0)")
      ->check(real(-0.999, 0.999))
      ->type_name("BETA");
}

}  // namespace

void add_sampler_flags(CLI::App& command, pipeline::SampleOptions& options) {
  add_step_flags(command, options);
  add_method_flags(command, options);
  add_noise_flags(command, options);
  add_spacing_flag(command, options);
  add_clip_flag(command, options);
  add_guidance_flags(command, options);
}

void add_guidance_flags(CLI::App& command, pipeline::SampleOptions& options) {
  const auto number = [&](const char* flag, std::optional<double>& value, const char* help) {
    return command.add_option(flag, value, help)->group(kGuidance);
  };
  number("--guidance", options.guidance,
         "W: the prediction without class and condition, plus W times the difference that they "
         "make; 1 is no guidance, 0 neither; 1.5 to 4 give clearer, less varied images (default: "
         "1)")
      ->check(real(0.0, 1000.0))
      ->type_name("W");
  command
      .add_option("--guidance-interval", options.guidance_interval,
                  "LOW,HIGH: guide only where LOW < sigma <= HIGH, sigma = sqrt((1 - alpha_bar) / "
                  "alpha_bar)")
      ->delimiter(',')
      ->expected(2)
      ->type_name("LOW,HIGH")
      ->group(kGuidance);
  number("--guidance-rescale", options.guidance_rescale,
         "against overexposed images: 1 keeps the contrast of the prediction without guidance "
         "(Lin 2024; default: 0)")
      ->check(real(0.0, 1.0))
      ->type_name("0..1");
  add_projection_flags(command, options);
  command
      .add_option("--guide-ckpt", options.guide,
                  "guide by this network instead of the null class: a smaller or younger one of "
                  "the same data (autoguidance, Karras 2024)")
      ->type_name("PATH")
      ->group(kGuidance);
  command
      .add_option("--guide", options.script_guide,
                  "a TorchScript network that guides: a classifier of noisy images (Dhariwal 2021) "
                  "with --class, a log-density or a score; see docs/sampling.md")
      ->type_name("FILE")
      ->group(kGuidance);
  command
      .add_option("--guide-scale", options.guide_scale,
                  "strength of --guide: 1 is Bayes' rule, more gives clearer images")
      ->check(real(0.0, 1000.0))
      ->type_name("S")
      ->group(kGuidance)
      ->capture_default_str();
  command
      .add_option("--guide-weights", options.guide_weights,
                  "weights of --guide-ckpt; ema-length-0.05 as --ema-length")
      ->type_name("ema|raw|ema-2|...")
      ->group(kGuidance);
}

void add_spacing_flag(CLI::App& command, pipeline::SampleOptions& options) {
  command
      .add_option("--spacing", options.spacing,
                  "how the S steps are spread over 1..T; trailing begins at T and suits few steps, "
                  "power too, with smaller ones near the image (bespoke chooses them), optimal is "
                  "the best for the likelihood, measured on first use (Bao 2022; default: "
                  "leading)")
      ->check(one_of(config::names<sample::Spacing>()))
      ->group(kSampler);
  command
      .add_option("--stepping", options.stepping,
                  "definition of leading, trailing and linspace: own, or that of diffusers "
                  "(default for its "
                  "folders)")
      ->check(one_of(config::names<sample::Stepping>()))
      ->group(kSampler);
}

void add_clip_flag(CLI::App& command, pipeline::SampleOptions& options) {
  command
      .add_option(
          "--clip", options.clip,
          "predicted pixels outside [-1,1]: none = keep, clip = clamp, rederive = clamp and "
          "correct the noise (default: rederive)")
      ->check(one_of(config::names<sample::Clip>()))
      ->group(kSampler);
  command
      .add_option("--dynamic-threshold", options.dynamic_threshold,
                  "against overexposed images: clamp at this quantile of an image's pixels, as "
                  "0.995, and scale down (Saharia 2022; default: 0, none)")
      ->check(real(0.0, 1.0))
      ->type_name("0..1")
      ->group(kSampler);
  command
      .add_option("--dynamic-threshold-max", options.dynamic_threshold_max,
                  "the quantile counts as at most this (default: no limit)")
      ->check(real(0.0, 1e9))
      ->type_name("MAX")
      ->group(kSampler);
}

}  // namespace ddpm::cli
