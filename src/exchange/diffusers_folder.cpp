#include "ddpm/exchange/diffusers_folder.h"

#include "ddpm/base/error.h"
#include "ddpm/exchange/diffusers_config.h"
#include "ddpm/io/file.h"
#include "state_dict.h"

#include <array>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace ddpm::exchange {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWeights = "diffusion_pytorch_model";

std::vector<io::NamedTensor> read_weights(const fs::path& file) {
  if (file.extension() == ".safetensors") return io::read_safetensors(file);
  return state_dict(file, "").tensors;
}

// Files in an index: {"weight_map": {tensor: file}}. Names without a path, or it is refused.
std::vector<io::NamedTensor> read_shards(const fs::path& index) {
  const auto json = nlohmann::json::parse(io::read_text(index), nullptr, false);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
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

std::vector<io::NamedTensor> find_weights(const fs::path& folder) {
  for (const char* ending : {".safetensors", ".bin"}) {
    const fs::path file = folder / fmt::format("{}{}", kWeights, ending);
    if (fs::exists(file)) return read_weights(file);
    const fs::path index = folder / fmt::format("{}{}.index.json", kWeights, ending);
    if (fs::exists(index)) return read_shards(index);
  }
  throw IoError(folder, fmt::format("holds neither {0}.safetensors nor {0}.bin", kWeights));
}

fs::path unet_folder(const fs::path& folder) {
  return fs::exists(folder / "unet" / "config.json") ? folder / "unet" : folder;
}

SchedulerSettings find_scheduler(const fs::path& folder) {
  // Beside unet/, in scheduler/, or above where the folder is unet/ itself.
  for (const fs::path& file :
       {folder / "scheduler" / "scheduler_config.json", folder / "scheduler_config.json",
        folder.parent_path() / "scheduler" / "scheduler_config.json"}) {
    if (fs::exists(file)) return parse_scheduler_config(io::read_text(file), file);
  }
  return parse_scheduler_config("{}", folder / "scheduler_config.json");
}

// What was said of google/ddpm-*: query, key, value, proj_attn, some of them 1x1 convolutions.
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

bool is_diffusers_folder(const fs::path& folder) {
  return fs::exists(folder / "unet" / "config.json") || fs::exists(folder / "config.json");
}

Model read_diffusers_folder(const fs::path& folder) {
  const fs::path unet = unet_folder(folder), config = unet / "config.json";
  const std::string text = io::read_text(config);
  Model model;
  model.origin = "diffusers folder";
  model.description.unet = parse_unet_config(text, config);
  model.description.class_names = parse_class_names(text);
  const SchedulerSettings scheduler = find_scheduler(folder);
  model.description.diffusion = scheduler.diffusion;
  model.sample = scheduler.sample;
  if (model.sample.sigma == sample::Sigma::kLearned && !model.description.unet.learned_variance) {
    throw IoError(config,
                  "out_channels = in_channels, but the scheduler's variance_type = "
                  "learned_range needs twice as many");
  }
  model.weights = arranged(renamed_attention(find_weights(unet)), model.description.unet, unet);
  return model;
}

void write_diffusers_folder(const Model& model, const fs::path& folder) {
  const nn::ModelDescription& d = model.description;
  // Every text first: what cannot be expressed is found before anything is written.
  const std::string unet = unet_config_text(d.unet, d.class_names);
  const std::string scheduler = scheduler_config_text({d.diffusion, model.sample});
  fs::create_directories(folder / "unet");
  fs::create_directories(folder / "scheduler");
  io::write_file_synced(folder / "unet" / "config.json", unet);
  io::OutputFile weights(folder / "unet" / fmt::format("{}.safetensors", kWeights));
  io::write_safetensors(weights, model.weights, {{"format", "pt"}});
  weights.finish();
  io::write_file_synced(folder / "scheduler" / "scheduler_config.json", scheduler);
  io::write_file_synced(folder / "model_index.json", pipeline_text(model.sample));
  for (const char* name : {"unet", "scheduler"}) io::sync_directory(folder / name);
  io::sync_directory(folder);
}

}  // namespace ddpm::exchange
