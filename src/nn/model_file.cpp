#include "ddpm/nn/model_file.h"

#include <algorithm>
#include <functional>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/utils.h>

namespace ddpm::nn {
namespace {

/// [image] of a model.toml.
struct ImageSection {
  ImageSpec shape;
  std::vector<std::string> class_names;
};

void fields(config::Fields& f, ImageSection& s) {
  f("channels", s.shape.channels, config::at_least(1));
  f("height", s.shape.height, config::at_least(1));
  f("width", s.shape.width, config::at_least(1));
  f("classes", s.shape.classes, config::at_least(0));
  f("class_names", s.class_names);
}

// In descending order, each once: as the levels are.
std::vector<int64_t> in_order(std::vector<int64_t> resolutions) {
  std::sort(resolutions.begin(), resolutions.end(), std::greater());
  resolutions.erase(std::unique(resolutions.begin(), resolutions.end()), resolutions.end());
  return resolutions;
}

}  // namespace

ModelDescription read_model_description(const std::filesystem::path& path) {
  config::Document document = config::Document::load(path);
  ModelDescription description = read_model_description(document);
  document.check_all_read();
  return description;
}

ModelDescription read_model_description(config::Document& document) {
  config::Reader image = document.section("image"), model = document.section("model"),
                 diffusion = document.section("diffusion");
  const auto section = config::read<ImageSection>(image);
  ModelDescription description;
  description.class_names = section.class_names;
  description.unet = read_unet_config(model);
  fit_to_images_(description.unet, section.shape, model);
  description.diffusion = diffusion::read_diffusion_config(diffusion);
  return description;
}

ModelDescription without_unused(ModelDescription description) {
  if (!description.unet.class_conditional) {
    description.unet.image.classes = 0;
    description.class_names.clear();
  }
  description.unet.attention_resolutions = in_order(description.unet.attention_resolutions);
  description.diffusion.schedule = diffusion::without_unused(description.diffusion.schedule);
  return description;
}

std::string to_toml(const ModelDescription& d) {
  return config::to_toml(ImageSection{d.unet.image, d.class_names}, "image") + "\n" +
         config::to_toml(d.unet, "model") + "\n" + config::to_toml(d.diffusion, "diffusion");
}

std::vector<io::NamedTensor> named_weights(const torch::nn::Module& module) {
  return named_weights(module, module.parameters());
}

std::vector<io::NamedTensor> named_weights(const torch::nn::Module& module,
                                           const std::vector<torch::Tensor>& tensors,
                                           const std::string& prefix) {
  std::vector<io::NamedTensor> named;
  size_t i = 0;
  for (const auto& item : module.named_parameters()) {
    named.push_back({prefix + item.key(), tensors.at(i++).detach()});
  }
  return named;
}

void load_weights_(const io::SafetensorsFile& file, const torch::nn::Module& module,
                   const std::vector<torch::Tensor>& tensors, const std::string& prefix) {
  const torch::NoGradGuard no_grad;
  size_t i = 0;
  for (const auto& item : module.named_parameters()) {
    const torch::Tensor& destination = tensors.at(i++);
    const std::string name = prefix + item.key();
    if (!file.contains(name)) {
      throw IoError(file.path(),
                    fmt::format("holds no tensor {}; it belongs to another network", name));
    }
    const torch::Tensor source = file.get(name);
    if (source.sizes() != destination.sizes()) {
      throw IoError(file.path(), fmt::format("tensor {} has shape [{}], the network's has [{}]",
                                             name, fmt::join(source.sizes(), ", "),
                                             fmt::join(destination.sizes(), ", ")));
    }
    destination.copy_(source);
  }
}

UNet load_unet(const UNetConfig& config, const std::filesystem::path& weights,
               const torch::Device& device, Precision precision) {
  const io::SafetensorsFile file = io::SafetensorsFile::open(weights);
  UNet unet(config);
  // Before loading, or float64 weights would pass through float32.
  unet->to(device, storage_type(precision));
  use_channels_last_(*unet);
  load_weights_(file, *unet, unet->parameters());
  if (file.names().size() != unet->parameters().size()) {
    throw IoError(weights,
                  fmt::format("holds {} tensors, the network has {}; it belongs to another network",
                              file.names().size(), unet->parameters().size()));
  }
  unet->eval();
  return unet;
}

torch::Tensor labels_in_turn(const std::vector<int64_t>& images,
                             const std::vector<int64_t>& classes, const torch::Device& device) {
  if (classes.empty()) return {};
  std::vector<int64_t> labels;
  for (const int64_t image : images) labels.push_back(classes[image % classes.size()]);
  return torch::tensor(labels, torch::kInt64).to(device);
}

diffusion::Denoiser make_denoiser(UNet unet, Precision precision, const torch::Tensor& labels) {
  return [unet, precision, labels](const torch::Tensor& x_t, const torch::Tensor& t) mutable {
    const torch::InferenceMode no_grad;
    const AutocastGuard autocast(x_t.device().type(), precision);
    const torch::Tensor x =
        x_t.to(storage_type(precision)).contiguous(torch::MemoryFormat::ChannelsLast);
    return unet->forward(x, t - 1, labels);  // the network counts t from 0
  };
}

}  // namespace ddpm::nn
