#include "sample_flags.h"

#include <CLI/CLI.hpp>

namespace ddpm::cli {

void add_network_flags(CLI::App& command, SampleOptions& options) {
  command.add_option("ckpt,--ckpt", options.checkpoint,
                     "a checkpoint, a run, a folder of runs (default: newest below runs/), a\n"
                     "diffusers folder, or a file of weights");
  command.add_option("--batch", options.batch, "images drawn at a time; changes no image")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  command.add_option("--seed", options.seed, "image i of a seed is always the same picture")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 53))
      ->capture_default_str();
  command
      .add_option("--class", options.classes,
                  "classes to draw in turn, by name or number, as in 3 or cat,dog (default: all)")
      ->delimiter(',');
  command.add_option("--weights", options.weights,
                     "ema: the averaged weights (ema-2: of the second decay, ...); raw: as trained "
                     "(default: ema if there is one)");
  command
      .add_option("--precision", options.precision,
                  "what the network computes in; tf32 is for GPUs, on the CPU it is fp32")
      ->check(CLI::IsMember(nn::precision_names()))
      ->capture_default_str();
  command.add_flag("--deterministic", options.deterministic,
                   "only algorithms that give the same bits each time on a GPU");
  command
      .add_option("--cuda-graph", options.cuda_graph,
                  "auto: record the network's operations on a GPU once and replay them; never")
      ->check(CLI::IsMember({"auto", "never"}))
      ->capture_default_str();
  command.add_option("--device", options.device, "auto, cpu, cuda or cuda:N")
      ->capture_default_str();
}

void add_sampler_flags(CLI::App& command, SampleOptions& options) {
  command
      .add_option("--steps", options.steps,
                  "network calls an image, 1 to T (default: the checkpoint's sample.steps)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  auto* ddim = command.add_flag("--ddim", options.ddim,
                                "DDIM; eta 0 (deterministic) unless --eta says otherwise");
  command
      .add_flag("--ddpm", options.ddpm, "Algorithm 2, also where the checkpoint's config says ddim")
      ->excludes(ddim);
  command.add_option("--eta", options.eta, "DDIM's noise: 0 none, 1 as much as Algorithm 2")
      ->check(CLI::Range(0.0, 1.0));
  command
      .add_option(
          "--sigma", options.sigma,
          "noise of a step: small (beta_tilde), large (beta), hat (DDIM paper), learned (the "
          "network's own)")
      ->check(CLI::IsMember(sample::sigma_names()));
  command.add_option("--spacing", options.spacing, "which of the T steps")
      ->check(CLI::IsMember(sample::spacing_names()));
  command
      .add_option("--clip", options.clip,
                  "what becomes of an x0 outside [-1,1]: none; clip; rederive (clip, eps to match)")
      ->check(CLI::IsMember(sample::clip_names()));
}

}  // namespace ddpm::cli
