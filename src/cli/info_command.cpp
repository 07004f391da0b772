#include "ddpm/base/text.h"
#include "ddpm/checkpoint/averages.h"
#include "ddpm/checkpoint/content.h"
#include "ddpm/cli/app.h"
#include "ddpm/exchange/model.h"
#include "ddpm/io/json_text.h"
#include "ddpm/io/png.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/pipeline/inputs.h"
#include "picture_info.h"
#include "print_row.h"
#include "shared_flags.h"

#include <set>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace ddpm::cli {
namespace {

namespace fs = std::filesystem;

std::string describe(const diffusion::DiffusionConfig& c) {
  const diffusion::Schedule schedule(c.schedule);
  return fmt::format("{}, T = {}, beta {:.4g} to {:.4g}, alpha_bar_T {:.4g}",
                     config::to_string(c.schedule.kind), schedule.timesteps(), schedule.beta(1),
                     schedule.beta(schedule.timesteps()), schedule.alpha_bar(schedule.timesteps()));
}

std::string describe(const nn::UNetConfig& c) {
  nn::UNet unet(c);
  return fmt::format(
      "UNet, {} parameters, channels {} x ({}), {}, attention at levels [{}], dropout {}{}",
      with_commas(nn::parameter_count(*unet)), c.channels, fmt::join(c.channel_multipliers, ", "),
      counted(c.blocks, "block"), fmt::join(nn::attention_levels(c), ", "), c.dropout,
      !c.class_conditional ? ""
      : c.null_class       ? ", class-conditional with a null class"
                           : ", class-conditional");
}

void print_vectors(const nn::UNetConfig& unet) {
  const nn::VectorSpec& spec = unet.vectors;
  print_row("vectors", fmt::format("{} per image{}; {} of training images kept for sampling",
                                   counted(spec.width(), "number"),
                                   unet.null_class ? ", also trained without them" : "",
                                   with_commas(std::ssize(spec.rows) / spec.width())));
  for (size_t d = 0; d < spec.names.size(); ++d)
    print_row("", fmt::format("{}: mean {:.4g}, deviation {:.4g}", spec.names[d], spec.mean[d],
                              spec.deviation[d]));
}

void print_model(const nn::ModelDescription& model) {
  const nn::ImageSpec& image = model.unet.image;
  print_row("images", fmt::format("{}x{}, {}{}, {}", image.height, image.width,
                                  counted(image.channels, "channel"),
                                  model.depth == 8 ? "" : fmt::format(" of {} bits", model.depth),
                                  counted(image.classes, "class")));
  print_row("network", describe(model.unet));
  if (model.unet.condition.is_set())
    print_row("condition",
              fmt::format("{}{}", pipeline::describe_condition(model.unet),
                          model.unet.condition.null_condition ? ", also trained without it" : ""));
  if (model.unet.self_condition)
    print_row("self-condition", "reads its estimate of the call before");
  if (model.unet.augment_labels)
    print_row("augmentation", "labels in training; samples are of images as they are");
  if (model.unet.vector_conditional) print_vectors(model.unet);
  print_row("schedule", describe(model.diffusion));
  print_row("predicts", config::to_string(model.diffusion.prediction));
}

// The lengths that --ema-length can have, and the snapshots that give them.
void print_power_averages(const fs::path& checkpoint, const checkpoint::TrainingState& state) {
  if (state.power_lengths.empty()) return;
  const auto averages = checkpoint::stored_averages(checkpoint);
  std::set<int64_t> steps;
  uint64_t bytes = 0;
  for (const checkpoint::StoredAverage& a : averages) {
    if (a.step == state.step) continue;
    steps.insert(a.step);
    bytes += a.sum.size;
  }
  print_row("EMA lengths", fmt::format("{}", fmt::join(state.power_lengths, ", ")));
  print_row("snapshots", steps.empty()
                             ? "none before this step"
                             : fmt::format("{} of steps {} to {}, {}", steps.size(), *steps.begin(),
                                           *steps.rbegin(), format_bytes(bytes)));
  const nn::ProfileSpan span = checkpoint::span_of(averages);
  const auto within = [&](double error) {
    return checkpoint::to_text(nn::lengths_within(span, static_cast<double>(state.step), error));
  };
  print_row("--ema-length",
            fmt::format("{} (error below {:.0f} %), {} (below {:.0f} %)",
                        within(checkpoint::kGoodProfile), 100 * checkpoint::kGoodProfile,
                        within(checkpoint::kUsableProfile), 100 * checkpoint::kUsableProfile));
}

bool print_checkpoint(const fs::path& checkpoint) {
  const checkpoint::Verification verification = checkpoint::CheckpointStore::verify(checkpoint);
  print_row("checkpoint", checkpoint.string());
  print_row("checksums", verification.ok() ? "all match" : "DAMAGED: " + verification.problem);
  if (!verification.ok()) return false;
  const checkpoint::TrainingState state = checkpoint::read_training_state(checkpoint);
  const nn::ModelDescription model = nn::read_model_description(checkpoint / "model.toml");
  print_row("step", fmt::format("{} ({} images seen, batch {}, {} of training)", state.step,
                                with_commas(state.samples_seen), state.batch_size,
                                format_duration(state.seconds)));
  print_row("saved", fmt::format("{} by torch {}", state.saved_at, state.torch_version));
  print_model(model);
  print_row("EMA", fmt::format("decay {}", fmt::join(state.ema_decays, ", ")));
  for (size_t i = 0; i < state.ema_decays.size(); ++i) {
    const std::string young = checkpoint::young_average(checkpoint, checkpoint::ema_name(i));
    if (!young.empty()) print_row("", young + ": sample with --weights raw");
  }
  print_power_averages(checkpoint, state);
  print_row("data", state.dataset);
  print_row("training", fmt::format("seed {}, {}, {}, {}", state.seed, state.precision,
                                    counted(state.threads, "CPU thread"),
                                    counted(state.skipped_steps, "skipped step")));
  uint64_t bytes = 0;
  for (const checkpoint::CheckpointFile& file : verification.files) bytes += file.sum.size;
  print_row("size", fmt::format("{} in {}", format_bytes(bytes),
                                counted(std::ssize(verification.files), "file")));
  return true;
}

// A diffusers folder or a file of weights.
void print_foreign(const fs::path& source) {
  const exchange::Model model = exchange::read_model(source);
  const nn::ModelDescription& d = model.description;
  uint64_t bytes = 0;
  for (const io::NamedTensor& weight : model.weights) bytes += weight.tensor.nbytes();
  print_row("network of", fmt::format("{} ({}, {})", source.string(), model.origin,
                                      exchange::describe_weights(model.weights_name)));
  print_model(d);
  print_row(
      "sampled by",
      fmt::format("{}, {} steps, sigma {}, spacing {}, clip {}", model.sample.method,
                  model.sample.steps > 0 ? model.sample.steps : d.diffusion.schedule.timesteps,
                  config::to_string(model.sample.sigma), config::to_string(model.sample.spacing),
                  config::to_string(model.sample.clip)));
  print_row("weights",
            fmt::format("{} of {}", format_bytes(bytes),
                        c10::getDtypeNames(model.weights.front().tensor.scalar_type()).first));
}

// Every key of the network's description, and its default sampling settings.
int print_json(const fs::path& given) {
  const exchange::Model model = exchange::open(given);
  int64_t parameters = 0;
  for (const io::NamedTensor& weight : model.weights) parameters += weight.tensor.numel();
  nlohmann::ordered_json json{{"path", as_utf8(model.path.string())},
                              {"origin", model.origin},
                              {"weights", model.weights_name},
                              {"parameters", parameters}};
  json.update(nn::to_json(model.description));
  json["sample"] = config::to_json(model.sample);
  fmt::print("{}\n", io::json_text(json));
  return kOk;
}

int run_info(const std::string& path, bool json) {
  const fs::path given = path;
  if (!fs::exists(given))
    throw IoError(given, "does not exist; name a checkpoint or a run's folder");
  if (io::begins_like_png(given)) return print_picture(given, json);
  if (json) return print_json(given);
  if (exchange::is_foreign(given)) {
    print_foreign(given);
    return kOk;
  }
  if (fs::exists(given / "checkpoints")) {  // a run
    const checkpoint::CheckpointStore store(given / "checkpoints");
    std::vector<int64_t> steps = store.steps();
    print_row("run", given.string());
    print_row("saved steps", steps.empty() ? "none" : fmt::format("{}", fmt::join(steps, ", ")));
    bool sound = true;
    for (const int64_t step : steps) {
      if (const auto v = checkpoint::CheckpointStore::verify(store.folder_of(step)); !v.ok()) {
        print_row("DAMAGED", fmt::format("{}: {}", store.folder_of(step).string(), v.problem));
        sound = false;
      }
    }
    if (steps.empty()) return sound ? kOk : kFailure;
    return print_checkpoint(checkpoint::resolve_checkpoint(given)) && sound ? kOk : kFailure;
  }
  if (fs::exists(given / checkpoint::kManifestName))
    return print_checkpoint(given) ? kOk : kFailure;
  return print_checkpoint(checkpoint::resolve_checkpoint(given)) ? kOk : kFailure;
}

}  // namespace

void add_info(CLI::App& app, Command& chosen) {
  auto path = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand(
      "info",
      "Describe a checkpoint, a run, another program's network, or how a picture was made; verify "
      "checksums");
  command
      ->add_option(
          "path", *path,
          "a checkpoint, a run, a folder of runs, a diffusers folder, a file of weights, or a "
          "picture (PNG) of ddpm sample")
      ->required();
  add_json_flag(*command, *json);
  command->footer(
      "Examples: a run, and the command that makes a picture again\n"
      "  ddpm info runs/mine\n"
      "  ddpm info pictures/000003.png");
  command->callback(
      [path, json, &chosen] { chosen = [path, json] { return run_info(*path, *json); }; });
}

}  // namespace ddpm::cli
