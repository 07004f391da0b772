#include "diffusers_folder.h"

#include "ddpm/base/error.h"
#include "ddpm/exchange/diffusers_config.h"
#include "ddpm/exchange/write.h"
#include "ddpm/io/file.h"
#include "json_text.h"
#include "networks_in.h"
#include "state_dict.h"

#include <array>
#include <map>
#include <optional>
#include <ranges>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace ddpm::exchange {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWeights = "diffusion_pytorch_model";
constexpr const char* kConfig = "config.json";
constexpr const char* kSchedulerConfig = "scheduler_config.json";

std::vector<io::NamedTensor> read_weights(const fs::path& file) {
  if (file.extension() == ".safetensors") return io::read_safetensors(file);
  return flat_state_dict(file);
}

// Reads the files of an index: {"weight_map": {tensor: file}}. Throws if a file name has a path.
std::vector<io::NamedTensor> read_shards(const fs::path& index) {
  const nlohmann::json json = parse_json_object(io::read_text(index), index);
  if (!json.contains("weight_map") || !json["weight_map"].is_object())
    throw IoError(index, "holds no weight_map; is it damaged?");
  std::set<std::string> files;
  for (const auto& [tensor, file] : json["weight_map"].items()) {
    if (!file.is_string()) throw IoError(index, "maps a tensor to no file; is it damaged?");
    files.insert(file.get<std::string>());
  }
  std::vector<io::NamedTensor> all;
  for (const std::string& file : files) {
    if (fs::path(file).filename() != file)
      throw IoError(index, fmt::format("names a file outside its folder: {}", file));
    std::vector<io::NamedTensor> part = read_weights(index.parent_path() / file);
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

// VARIANT in diffusion_pytorch_model.VARIANT.safetensors, or in the index of a sharded file,
// diffusion_pytorch_model.safetensors.index.VARIANT.json; "" for other files.
std::string variant_of(const std::string& name) {
  for (const std::string ending : {".safetensors", ".bin"}) {
    const std::string file = fmt::format("{}.", kWeights);
    const std::string index = fmt::format("{}{}.index.", kWeights, ending);
    for (const auto& [begin, end] : {std::pair(index, std::string(".json")), {file, ending}}) {
      if (name.size() <= begin.size() + end.size()) continue;
      if (!name.starts_with(begin) || !name.ends_with(end)) continue;
      const std::string variant =
          name.substr(begin.size(), name.size() - begin.size() - end.size());
      if (variant.find_first_of(".-") == std::string::npos) return variant;
    }
  }
  return "";
}

// Finds a file of save_pretrained(variant="fp16") and similar. Prefers the most precise variant,
// then safetensors to .bin.
std::optional<fs::path> find_variant(const fs::path& folder) {
  std::map<std::string, fs::path> variants;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string variant = variant_of(entry.path().filename().string());
    fs::path& file = variants[variant];
    if (file.empty() || entry.path().string().find(".safetensors") != std::string::npos)
      file = entry.path();
  }
  variants.erase("");
  for (const char* variant : {"fp32", "bf16", "fp16"}) {
    if (variants.contains(variant)) return variants[variant];
  }
  if (variants.size() > 1) {
    throw IoError(folder,
                  fmt::format("holds the variants {} of its weights; leave one of them there",
                              fmt::join(std::views::keys(variants), ", ")));
  }
  if (variants.empty()) return std::nullopt;
  return variants.begin()->second;
}

std::vector<io::NamedTensor> find_weights(const fs::path& folder) {
  for (const char* ending : {".safetensors", ".bin"}) {
    const fs::path file = folder / fmt::format("{}{}", kWeights, ending);
    if (fs::exists(file)) return read_weights(file);
    const fs::path index = folder / fmt::format("{}{}.index.json", kWeights, ending);
    if (fs::exists(index)) return read_shards(index);
  }
  if (const auto variant = find_variant(folder))
    return variant->extension() == ".json" ? read_shards(*variant) : read_weights(*variant);
  throw IoError(folder, fmt::format("holds neither {0}.safetensors nor {0}.bin", kWeights));
}

// The folder of the UNet and the name of its weights. Training scripts write unet/ and, for EMA
// weights, unet_ema/.
std::pair<fs::path, std::string> unet_folder(const fs::path& folder, const std::string& weights) {
  const bool raw = fs::exists(folder / "unet" / kConfig);
  const bool averaged = fs::exists(folder / "unet_ema" / kConfig);
  if (raw && averaged) {
    if (!weights.empty() && weights != "ema" && weights != "raw")
      throw UsageError(fmt::format("--weights {}: {} has ema or raw", weights, folder.string()));
    return weights == "raw" ? std::pair(folder / "unet", std::string("raw"))
                            : std::pair(folder / "unet_ema", std::string("ema"));
  }
  const bool ema = averaged || fs::absolute(folder).lexically_normal().filename() == "unet_ema";
  expect_choice(weights, ema ? "ema" : "", folder);
  if (ema) return {averaged ? folder / "unet_ema" : folder, "ema"};
  return {raw ? folder / "unet" : folder, ""};
}

// The scheduler's config is in scheduler/, next to unet/. It is one folder higher if `given` is
// unet/ or a checkpoint inside a finished pipeline, and two folders higher if it is both.
std::optional<fs::path> scheduler_file(const fs::path& given) {
  const fs::path folder = fs::absolute(given / "").lexically_normal().parent_path();
  const fs::path above = folder.parent_path();
  for (const fs::path& file : {folder / "scheduler" / kSchedulerConfig, folder / kSchedulerConfig,
                               above / "scheduler" / kSchedulerConfig,
                               above.parent_path() / "scheduler" / kSchedulerConfig}) {
    if (fs::exists(file)) return file;
  }
  return std::nullopt;
}

// Names of attention layers in google/ddpm-*, where some are 1x1 convolutions, and today's names.
constexpr std::array<std::pair<const char*, const char*>, 4> kOldAttention = {
    {{".query.", ".to_q."},
     {".key.", ".to_k."},
     {".value.", ".to_v."},
     {".proj_attn.", ".to_out.0."}}};

}  // namespace

std::vector<io::NamedTensor> renamed_attention(std::vector<io::NamedTensor> weights) {
  for (io::NamedTensor& weight : weights) {
    if (weight.name.find("attentions.") == std::string::npos) continue;
    for (const auto& [old_name, new_name] : kOldAttention) {
      const size_t at = weight.name.find(old_name);
      if (at == std::string::npos) continue;
      weight.name.replace(at, std::string(old_name).size(), new_name);
      if (weight.tensor.dim() == 4 &&
          weight.tensor.numel() == weight.tensor.size(0) * weight.tensor.size(1))
        weight.tensor = weight.tensor.flatten(1);
    }
  }
  return weights;
}

SchedulerSettings find_scheduler(const fs::path& folder, const Hints& hints) {
  const bool hinted = hints.timesteps || hints.schedule || hints.prediction;
  if (const auto file = scheduler_file(folder)) {
    if (hinted)
      throw UsageError(
          fmt::format("{} describes how its network is used; leave out "
                      "--timesteps, --schedule and --prediction",
                      file->string()));
    return parse_scheduler_config(io::read_text(*file), *file);
  }
  const diffusion::DiffusionConfig d = hinted_diffusion(hints, /*betas_by_steps=*/false);
  if (!hinted) {
    spdlog::warn(
        "{} has no scheduler_config.json: assumed to be trained with {} betas {} to {}, T = {}, "
        "prediction {}, as diffusers assumes; if that is wrong, tell ddpm convert with "
        "--timesteps, --schedule and --prediction",
        folder.string(), config::to_string(d.schedule.kind), d.schedule.beta_start,
        d.schedule.beta_end, d.schedule.timesteps, config::to_string(d.prediction));
  }
  SchedulerSettings settings = parse_scheduler_config(
      fmt::format("{{\"num_train_timesteps\": {}}}", d.schedule.timesteps), kSchedulerConfig);
  settings.diffusion = d;
  return settings;
}

bool is_diffusers_folder(const fs::path& folder) {
  return fs::exists(folder / "unet" / kConfig) || fs::exists(folder / "unet_ema" / kConfig) ||
         fs::exists(folder / kConfig);
}

Model read_diffusers_folder(const fs::path& folder, const std::string& weights,
                            const Hints& hints) {
  const auto [unet, weights_name] = unet_folder(folder, weights);
  const fs::path config = unet / kConfig;
  const std::string text = io::read_text(config);
  Model model;
  model.origin = "diffusers folder";
  model.weights_name = weights_name;
  model.description.unet = parse_unet_config(text, config);
  model.description.class_names = parse_class_names(text);
  const SchedulerSettings scheduler = find_scheduler(folder, hints);
  model.description.diffusion = scheduler.diffusion;
  model.sample = scheduler.sample;
  if (model.sample.sigma == sample::Sigma::kLearned && !model.description.unet.learned_variance) {
    throw IoError(config,
                  "out_channels = in_channels, but the scheduler's variance_type = "
                  "learned_range needs twice as many");
  }
  const StateDict found = network_in(find_weights(unet), "", unet);
  model.weights = arranged(renamed_attention(found.tensors), model.description.unet, unet);
  return model;
}

// The weights that a UNet2DModel has. The map of the augmentation's labels is left out: it changes
// no sample.
std::vector<io::NamedTensor> weights_for_samples(const Model& model) {
  std::vector<io::NamedTensor> weights = model.weights;
  std::erase_if(weights,
                [](const io::NamedTensor& w) { return w.name == "augment_embedding.weight"; });
  return weights;
}

void write_diffusers_folder(const Model& model, const fs::path& folder, const CardFacts& facts) {
  const nn::ModelDescription& d = model.description;
  // Creates all texts first, so that a setting that is not supported is found before any write.
  const std::string unet = unet_config_text(d.unet, d.class_names);
  const SchedulerSettings settings{d.diffusion, model.sample};
  const std::string scheduler = scheduler_config_text(settings);
  const std::string card = model_card(model, facts);
  io::make_folder(folder / "unet");
  io::make_folder(folder / "scheduler");
  io::write_file_synced(folder / "unet" / "config.json", unet);
  io::OutputFile weights(folder / "unet" / fmt::format("{}.safetensors", kWeights));
  io::write_safetensors(weights, weights_for_samples(model), {{"format", "pt"}});
  weights.finish();
  io::write_file_synced(folder / "scheduler" / "scheduler_config.json", scheduler);
  io::write_file_synced(folder / "model_index.json", pipeline_text(settings));
  if (!pipeline_obstacle(model).empty())
    io::write_file_synced(folder / "sample.py", sampling_script(model));
  io::write_file_synced(folder / "README.md", card);
  if (!facts.grid.empty()) io::write_file_synced(folder / "samples.png", io::read_file(facts.grid));
  for (const char* name : {"unet", "scheduler"}) io::sync_directory(folder / name);
  io::sync_directory(folder);
}

}  // namespace ddpm::exchange
