#include "ddpm/exchange/model.h"

#include "ddpm/base/error.h"
#include "ddpm/checkpoint/content.h"
#include "ddpm/checkpoint/store.h"
#include "ddpm/exchange/diffusers_config.h"
#include "ddpm/exchange/write.h"
#include "ddpm/io/torch_file.h"
#include "diffusers_folder.h"
#include "model_text.h"
#include "networks_in.h"
#include "state_dict.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <torch/utils.h>

namespace ddpm::exchange {
namespace {

namespace fs = std::filesystem;

void check_no_network_hints(const Hints& hints, const fs::path& source) {
  if (!hints.any_of_network()) return;
  throw UsageError(fmt::format(
      "{} describes its network; leave out --image-size, --heads and the like", source.string()));
}

void check_no_hints(const Hints& hints, const fs::path& source) {
  check_no_network_hints(hints, source);
  if (!hints.any()) return;
  throw UsageError(
      fmt::format("{} describes how its network was trained; leave out --timesteps, "
                  "--schedule and --prediction",
                  source.string()));
}

// Sets the weights to the average of this length.
void rebuild_(Model& model, const fs::path& folder, double length, Parts parts) {
  model.rebuilt =
      std::make_shared<const checkpoint::RebuiltEma>(checkpoint::rebuilt_ema(folder, length));
  model.weights_name = checkpoint::ema_length_name(length);
  model.weights_file = folder;
  if (parts == Parts::kAll)
    model.weights =
        arranged(checkpoint::rebuilt_weights(*model.rebuilt), model.description.unet, folder);
}

Model read_checkpoint(const fs::path& folder, const std::string& weights, Parts parts) {
  Model model;
  model.origin = "checkpoint";
  model.is_checkpoint = true;
  model.description = nn::read_model_description(folder / "model.toml");
  if (fs::exists(folder / "config.toml")) {
    config::Document document = config::Document::load(folder / "config.toml");
    config::Reader sample = document.section("sample");
    model.sample = sample::read_sample_config(sample);
  }
  if (const auto length = checkpoint::ema_length(weights)) {
    rebuild_(model, folder, *length, parts);
    return model;
  }
  const checkpoint::WeightsChoice choice = checkpoint::choose_weights(folder, weights);
  model.weights_name = choice.name;
  model.weights_file = choice.file;
  if (parts == Parts::kAll)
    model.weights =
        arranged(io::read_safetensors(choice.file), model.description.unet, choice.file);
  return model;
}

// Reads the description next to a file of weights with our names: FILE.toml, model.toml, or
// diffusers' config.json.
void read_beside(const fs::path& file, const Hints& hints, Model& model) {
  for (const fs::path& text :
       {fs::path(file).replace_extension(".toml"), file.parent_path() / "model.toml"}) {
    if (!fs::exists(text)) continue;
    check_no_hints(hints, text);
    return parse_model_text(io::read_text(text), text.string(), model);
  }
  const fs::path json = file.parent_path() / "config.json";
  if (!fs::exists(json)) {
    throw IoError(file, fmt::format("does not describe its network; put its model.toml or "
                                    "config.json beside it"));
  }
  check_no_network_hints(hints, json);
  const std::string text = io::read_text(json);
  model.description.unet = parse_unet_config(text, json);
  model.description.class_names = parse_class_names(text);
  const SchedulerSettings settings = find_scheduler(fs::absolute(file).parent_path(), hints);
  model.description.diffusion = settings.diffusion;
  model.sample = settings.sample;
}

// A checkpoint's file name gives the weights' name; other files do not.
std::string name_of_weights(const fs::path& file) {
  const fs::path folder = file.parent_path();
  if (!fs::exists(folder / "model.toml") || !fs::exists(folder / "ema.safetensors")) return "";
  const std::string stem = file.stem().string();
  return stem == "model" ? "raw" : stem.starts_with("ema") ? stem : "";
}

// Checks that the description can be written and read again.
void check_description(Model& model, const fs::path& source) {
  try {
    parse_model_text(
        nn::to_toml(model.description) + "\n" + config::to_toml(model.sample, "sample"),
        source.string(), model);
  } catch (const ConfigError& error) {
    throw IoError(source,
                  fmt::format("describes a network that cannot be built ({})", error.what()));
  }
}

// A network that is identified by its tensors' names. `text`: the description in the file, if any.
Model read_bare_weights(const StateDict& dict, const std::optional<std::string>& text,
                        const Hints& hints, const fs::path& file) {
  const std::vector<io::NamedTensor>& tensors = dict.tensors;
  Model model;
  if (has_our_names(tensors)) {
    model.origin = "state dict";
    if (text) {
      check_no_hints(hints, file);
      parse_model_text(*text, file.string(), model);
    } else {
      read_beside(file, hints, model);
    }
    model.weights = renamed_attention(tensors);
  } else if (is_ho_port(tensors)) {
    model = ho_port(tensors, hints, file);
  } else if (is_openai(tensors)) {
    model = openai_unet(tensors, hints, file);
  } else if (is_w86(tensors)) {
    model = w86_unet(tensors, hints, file);
  } else if (is_tqch(tensors)) {
    model = tqch_unet(tensors, hints, file);
  } else if (is_lucidrains(tensors)) {
    refuse_lucidrains(file);
  } else {
    refuse_unknown_network(tensors, file);
  }
  if (!dict.origin.empty()) model.origin += ", " + dict.origin;
  model.weights_name = dict.weights;
  check_description(model, file);
  model.weights = arranged(model.weights, model.description.unet, file);
  return model;
}

Model read_safetensors_model(const fs::path& file, const std::string& weights, const Hints& hints) {
  const io::SafetensorsFile opened = io::SafetensorsFile::open(file);
  const auto text = opened.metadata().find(kDescriptionKey);
  const bool described = text != opened.metadata().end();
  const std::string name = name_of_weights(file);
  if (!described && name.empty()) {
    return read_bare_weights(network_in(io::read_safetensors(file), weights, file), std::nullopt,
                             hints, file);
  }
  expect_choice(weights, name, file);
  Model model;
  model.weights_name = name;
  model.origin = "safetensors";
  if (described) {
    check_no_hints(hints, file);
    parse_model_text(text->second, file.string(), model);
  } else {
    read_beside(file, hints, model);
  }
  model.weights =
      arranged(renamed_attention(io::read_safetensors(file)), model.description.unet, file);
  return model;
}

Model read_torch_model(const fs::path& file, const std::string& weights, const Hints& hints) {
  return read_bare_weights(state_dict(file, weights), io::torch_file_note(file, kDescriptionKey),
                           hints, file);
}

// Checks that the tensors have the config's sizes, before a network of that size is built.
void check_widths(const std::vector<io::NamedTensor>& weights, const nn::UNetConfig& config,
                  const fs::path& source) {
  const auto expect = [&](const std::string& name, const std::vector<int64_t>& sizes) {
    const torch::Tensor* found = find_tensor(weights, name);
    if (!found || found->sizes() != torch::IntArrayRef(sizes)) {
      throw IoError(source, fmt::format("holds no tensor {} [{}]; it belongs to another network",
                                        name, fmt::join(sizes, ", ")));
    }
  };
  expect("conv_in.weight", {config.channels, nn::input_channels(config), 3, 3});
  if (config.class_conditional)
    expect("class_embedding.weight", {nn::embedded_classes(config), 4 * config.channels});
  if (config.vector_conditional)
    expect("vector_embedding.weight", {4 * config.channels, config.vectors.width()});
  for (size_t level = 0; level < config.channel_multipliers.size(); ++level) {
    const int64_t width = config.channels * config.channel_multipliers[level];
    expect(fmt::format("down_blocks.{}.resnets.{}.conv2.weight", level, config.blocks - 1),
           {width, width, 3, 3});
  }
}

Model read_any(const fs::path& source, const std::string& weights, const Hints& hints,
               Parts parts) {
  if (!fs::exists(source)) throw IoError(source, "does not exist; check the path");
  if (const auto length = checkpoint::ema_length(weights);
      length && !fs::exists(source / "model.toml")) {
    throw UsageError(fmt::format("--ema-length {}: {} is no checkpoint of a run; leave it out",
                                 *length, source.string()));
  }
  if (fs::is_regular_file(source)) {
    const bool safetensors =
        io::is_safetensors_file(source) ||
        (source.extension() == ".safetensors" && !io::is_torch_file(source));  // a damaged one
    return safetensors ? read_safetensors_model(source, weights, hints)
                       : read_torch_model(source, weights, hints);
  }
  if (fs::exists(source / "model.toml")) {
    check_no_hints(hints, source);
    return read_checkpoint(source, weights, parts);
  }
  check_no_network_hints(hints, source);
  if (!is_diffusers_folder(source)) {
    throw IoError(source,
                  "holds no network: neither model.toml (a checkpoint) nor unet/config.json (a "
                  "diffusers folder)");
  }
  Model model = read_diffusers_folder(source, weights, hints);
  check_description(model, source);
  return model;
}

Model read_parts(const fs::path& source, const std::string& weights, const Hints& hints,
                 Parts parts) {
  Model model = read_any(source, weights, hints, parts);
  model.path = source;
  if (model.weights_file.empty()) model.weights_file = source;
  return model;
}

}  // namespace

bool Hints::any_of_network() const {
  return image_size || heads || head_channels || groups || new_attention_order || rescale_timesteps;
}

bool Hints::any() const { return any_of_network() || timesteps || schedule || prediction; }

Model read_model(const fs::path& source, const std::string& weights, const Hints& hints) {
  return read_parts(source, weights, hints, Parts::kAll);
}

Model open(const fs::path& source, const std::string& weights, const Hints& hints, Parts parts) {
  if (is_foreign(source)) return read_parts(source, weights, hints, parts);
  const auto report = [](const fs::path& damaged, const std::string& problem) {
    spdlog::warn("{} is damaged ({}); using the one before it", damaged.string(), problem);
  };
  return read_parts(checkpoint::resolve_checkpoint(source, report), weights, hints, parts);
}

std::string describe_weights(const std::string& weights_name) {
  return weights_name.empty() ? "its only weights" : weights_name + " weights";
}

fs::path run_of(const Model& model) {
  return model.is_checkpoint ? checkpoint::run_of(model.path) : fs::path();
}

bool is_foreign(const fs::path& source) {
  if (fs::is_regular_file(source)) return true;
  return fs::is_directory(source) && !fs::exists(source / "model.toml") &&
         is_diffusers_folder(source);
}

std::vector<io::NamedTensor> arranged(const std::vector<io::NamedTensor>& weights,
                                      const nn::UNetConfig& config, const fs::path& source) {
  check_widths(weights, config, source);
  return nn::ordered_like(*nn::UNet(config), weights, source);
}

void load_weights_(const Model& model, nn::UNetImpl& unet) {
  if (model.weights.empty() && model.rebuilt)
    return nn::load_(unet, checkpoint::rebuilt_weights(*model.rebuilt), model.path);
  if (model.weights.empty()) return nn::load_(unet, io::SafetensorsFile::open(model.weights_file));
  nn::load_(unet, model.weights, model.path);
}

nn::UNet make_unet(const Model& model, const torch::Device& device, nn::Precision precision) {
  nn::UNet unet(model.description.unet);
  unet->to(device, nn::storage_type(precision));
  nn::use_channels_last_(*unet);
  load_weights_(model, *unet);
  unet->eval();
  for (torch::Tensor& parameter : unet->parameters()) parameter.set_requires_grad(false);
  return unet;
}

}  // namespace ddpm::exchange
