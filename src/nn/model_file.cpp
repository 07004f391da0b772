#include "ddpm/nn/model_file.h"

#include <algorithm>
#include <functional>
#include <unordered_map>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <torch/utils.h>

namespace ddpm::nn {
namespace {

/// [image] of a model.toml.
struct ImageSection {
  ImageSpec shape;
  std::vector<std::string> class_names;
  int64_t depth = 8;
};

ImageSection image_section(const ModelDescription& d) {
  return {d.unet.image, d.class_names, d.depth};
}

void fields(config::Fields& f, ImageSection& s) {
  f("channels", s.shape.channels, config::at_least(1));
  f("height", s.shape.height, config::at_least(1));
  f("width", s.shape.width, config::at_least(1));
  f("classes", s.shape.classes, config::at_least(0));
  f("class_names", s.class_names);
  if (!f.omits(s.depth == 8)) f("depth", s.depth, {8, 16});
}

// In descending order, each once: as the levels are.
std::vector<int64_t> in_order(std::vector<int64_t> resolutions) {
  std::sort(resolutions.begin(), resolutions.end(), std::greater());
  resolutions.erase(std::unique(resolutions.begin(), resolutions.end()), resolutions.end());
  return resolutions;
}

[[noreturn]] void fail_missing(const std::filesystem::path& source, const std::string& name) {
  throw IoError(source, fmt::format("holds no tensor {}; it belongs to another network", name));
}

[[noreturn]] void fail_left_over(const std::filesystem::path& source, const std::string& name) {
  throw IoError(source, fmt::format("holds tensor {}, which the network has not; it belongs to "
                                    "another network",
                                    name));
}

void check_shape(const torch::Tensor& parameter, const torch::Tensor& tensor,
                 const std::string& name, const std::filesystem::path& source) {
  if (tensor.sizes() == parameter.sizes() && tensor.is_floating_point()) return;
  throw IoError(source,
                fmt::format("tensor {} has shape [{}], the network's has [{}]", name,
                            fmt::join(tensor.sizes(), ", "), fmt::join(parameter.sizes(), ", ")));
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
                 vectors = document.section("vectors"), diffusion = document.section("diffusion");
  const auto section = config::read<ImageSection>(image);
  ModelDescription description;
  description.class_names = section.class_names;
  description.depth = section.depth;
  description.unet = read_unet_config(model);
  description.unet.vectors = config::read<VectorSpec>(vectors);
  fit_to_images_(description.unet, section.shape, model);
  description.diffusion = diffusion::read_diffusion_config(diffusion);
  return description;
}

ModelDescription without_unused(ModelDescription description) {
  if (!description.unet.class_conditional) {
    description.unet.image.classes = 0;
    description.class_names.clear();
    if (!description.unet.vector_conditional) description.unet.null_class = false;
  }
  description.depth = ModelDescription().depth;
  if (!description.unet.vector_conditional) description.unet.vectors = {};
  description.unet.attention_resolutions = in_order(description.unet.attention_resolutions);
  description.diffusion.schedule = diffusion::without_unused(description.diffusion.schedule);
  return description;
}

std::string to_toml(const ModelDescription& d) {
  std::string text = config::to_toml(image_section(d), "image") + "\n" +
                     config::to_toml(d.unet, "model") + "\n" +
                     config::to_toml(d.diffusion, "diffusion");
  if (d.unet.vector_conditional) text += "\n" + config::to_toml(d.unet.vectors, "vectors");
  return text;
}

nlohmann::ordered_json to_json(const ModelDescription& d) {
  nlohmann::ordered_json json{{"image", config::to_json(image_section(d))},
                              {"model", config::to_json(d.unet)},
                              {"diffusion", config::to_json(d.diffusion)}};
  if (d.unet.vector_conditional) json["vectors"] = to_json(d.unet.vectors);
  return json;
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
    const std::string name = prefix + item.key();
    if (!file.contains(name)) fail_missing(file.path(), name);
    torch::Tensor destination = tensors.at(i++);
    const torch::Tensor tensor = file.get(name);
    check_shape(destination, tensor, name, file.path());
    destination.copy_(tensor);
  }
}

std::vector<io::NamedTensor> ordered_like(const torch::nn::Module& module,
                                          const std::vector<io::NamedTensor>& weights,
                                          const std::filesystem::path& source) {
  std::unordered_map<std::string, torch::Tensor> by_name;
  for (const io::NamedTensor& weight : weights) {
    if (!by_name.emplace(weight.name, weight.tensor).second)
      throw IoError(source, fmt::format("holds tensor {} twice", weight.name));
  }
  std::vector<io::NamedTensor> result;
  for (const auto& item : module.named_parameters()) {
    const auto found = by_name.find(item.key());
    if (found == by_name.end()) fail_missing(source, item.key());
    check_shape(item.value(), found->second, item.key(), source);
    result.push_back({item.key(), found->second});
    by_name.erase(found);
  }
  if (!by_name.empty()) fail_left_over(source, by_name.begin()->first);
  return result;
}

void load_(torch::nn::Module& module, const std::vector<io::NamedTensor>& weights,
           const std::filesystem::path& source) {
  const torch::NoGradGuard no_grad;
  const std::vector<torch::Tensor> parameters = module.parameters();
  const std::vector<io::NamedTensor> ordered = ordered_like(module, weights, source);
  for (size_t i = 0; i < ordered.size(); ++i) torch::Tensor(parameters[i]).copy_(ordered[i].tensor);
}

void load_(torch::nn::Module& module, const io::SafetensorsFile& file) {
  load_weights_(file, module, module.parameters());
  const auto parameters = module.named_parameters();
  for (const std::string& name : file.names()) {
    if (!parameters.contains(name)) fail_left_over(file.path(), name);
  }
}

torch::Tensor labels_in_turn(const std::vector<int64_t>& images,
                             const std::vector<int64_t>& classes, const torch::Device& device) {
  if (classes.empty()) return {};
  std::vector<int64_t> labels;
  for (const int64_t image : images) labels.push_back(classes[image % classes.size()]);
  return torch::tensor(labels, torch::kInt64).to(device);
}

LabelledDenoiser make_labelled_denoiser(UNet unet, const diffusion::Diffusion& diffusion,
                                        Precision precision, Gradients gradients) {
  // Not InferenceMode: autograd cannot save its tensors.
  const torch::NoGradGuard no_grad;
  const torch::DeviceType device = unet->parameters().front().device().type();
  std::shared_ptr<const WeightCopies> copies;
  {
    const AutocastGuard autocast(device, precision);
    if (unet->uses_copies(device)) copies = std::make_shared<WeightCopies>(unet->weight_copies());
  }
  return [=](const torch::Tensor& x_t, const torch::Tensor& t, const Given& given) mutable {
    std::optional<torch::InferenceMode> no_grad;
    if (gradients == Gradients::kNone) no_grad.emplace();
    const AutocastGuard autocast(device, precision);
    std::optional<WeightCopiesGuard> guard;
    if (copies) guard.emplace(*copies);
    const diffusion::NetworkInput input = diffusion.network_input(x_t, t);
    const torch::Tensor x =
        input.x.to(storage_type(precision)).contiguous(torch::MemoryFormat::ChannelsLast);
    return unet->forward(x, input.time, given.labels,
                         whole_condition(unet->config(), x, given.condition, given.estimate),
                         /*augment=*/{}, given.vectors);
  };
}

diffusion::Denoiser make_denoiser(UNet unet, const diffusion::Diffusion& diffusion,
                                  Precision precision, const Given& given) {
  return [given, network = make_labelled_denoiser(std::move(unet), diffusion, precision)](
             const torch::Tensor& x_t, const torch::Tensor& t) { return network(x_t, t, given); };
}

Given first_of(const Given& given, int64_t count) {
  const auto rows = [&](const torch::Tensor& t) { return t.defined() ? t.narrow(0, 0, count) : t; };
  return {rows(given.labels), rows(given.condition), rows(given.estimate), rows(given.vectors)};
}

Given without_condition(const UNetConfig& config, Given given) {
  if (config.class_conditional && config.null_class)
    given.labels = torch::full_like(given.labels, config.image.classes);
  if (config.vector_conditional && config.null_class)
    given.vectors = no_vectors(config, given.vectors.size(0), given.vectors.device());
  if (config.condition.null_condition) given.condition = torch::zeros_like(given.condition);
  return given;
}

diffusion::Denoiser with_labels(LabelledDenoiser network, const Given& given) {
  return [=](const torch::Tensor& x_t, const torch::Tensor& t) {
    return network(x_t, t, first_of(given, x_t.size(0)));
  };
}

}  // namespace ddpm::nn
