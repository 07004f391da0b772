#include "card_facts.h"
#include "ddpm/cli/app.h"
#include "ddpm/exchange/diffusers_config.h"
#include "ddpm/exchange/write.h"
#include "flags.h"
#include "shared_flags.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

struct ConvertOptions {
  std::string source, destination, format;
  std::string weights;  // "": EMA weights if there are any
  exchange::Hints hints;
};

// Settings that diffusers does not have, and pipelines that it cannot run.
void warn_of_diffusers(const exchange::Model& model, const std::string& folder) {
  for (const std::string& lost :
       exchange::lost_settings({model.description.diffusion, model.sample}))
    spdlog::warn("a diffusers folder cannot represent {}", lost);
  const std::string obstacle = exchange::pipeline_obstacle(model);
  if (!obstacle.empty())
    spdlog::warn("{}; sample with python3 {}/sample.py, which shows how", obstacle, folder);
}

int run_convert(const ConvertOptions& o) {
  const exchange::Model model = exchange::open(o.source, o.weights, o.hints);
  spdlog::info("{}: {}, {}, {} tensors", model.path.string(), model.origin,
               exchange::describe_weights(model.weights_name), model.weights.size());
  const auto format = config::value_named<exchange::Format>(o.format).value();
  exchange::save(
      model, o.destination, format,
      format == exchange::Format::kDiffusers ? card_facts(model) : exchange::CardFacts{});
  if (format == exchange::Format::kDiffusers) warn_of_diffusers(model, o.destination);
  fmt::print("{}\n", o.destination);
  return kOk;
}

// Properties of OpenAI's and Ho's networks that tensor shapes do not show.
void add_hints(CLI::App& command, exchange::Hints& hints) {
  const auto positive = whole(1, int64_t{1} << 20);
  const auto add = [&](const char* flag, std::optional<int64_t>& value, const char* help) {
    command.add_option(flag, value, help)->check(positive)->group("Files of bare weights");
  };
  const auto choose = [&](const char* flag, std::optional<std::string>& value,
                          const std::vector<std::string>& names, const char* help) {
    command.add_option(flag, value, help)->check(one_of(names))->group("Files of bare weights");
  };
  add("--image-size", hints.image_size, "side of the (square) images");
  add("--heads", hints.heads, "heads of every attention block (OpenAI's num_heads)");
  add("--head-channels", hints.head_channels, "channels per head (OpenAI's num_head_channels)");
  add("--groups", hints.groups, "groups of every GroupNorm (default: 32)");
  add("--timesteps", hints.timesteps, "T, OpenAI's diffusion_steps (default: 1000)");
  choose("--schedule", hints.schedule, {"linear", "cosine"}, "noise schedule (default: linear)");
  choose("--prediction", hints.prediction, config::names<diffusion::Prediction>(),
         "what the network predicts (default: eps)");
  command
      .add_flag("--new-attention-order", hints.new_attention_order,
                "OpenAI's use_new_attention_order")
      ->group("Files of bare weights");
  command.add_flag("--rescale-timesteps", hints.rescale_timesteps, "OpenAI's rescale_timesteps")
      ->group("Files of bare weights");
}

}  // namespace

void add_convert(CLI::App& app, Command& chosen) {
  auto o = std::make_shared<ConvertOptions>();
  CLI::App* command =
      app.add_subcommand("convert", "Convert a network to or from another program's format");
  command
      ->add_option("source", o->source,
                   "a checkpoint, a run, a diffusers folder, or a file of weights (.safetensors, "
                   ".pt, .pth, .ckpt, .bin)")
      ->required();
  command->add_option("destination", o->destination, "file or folder to make; must not exist")
      ->required();
  command->add_option("--to", o->format, "the format; ddpm: a checkpoint of this program")
      ->required()
      ->check(one_of(config::names<exchange::Format>()));
  add_weights_flag(*command, o->weights);
  add_hints(*command, o->hints);
  command->footer(
      "Example: for diffusers\n"
      "  ddpm convert runs/mine mine-diffusers --to diffusers");
  command->callback([o, &chosen] { chosen = [o] { return run_convert(*o); }; });
}

}  // namespace ddpm::cli
