#pragma once

#include "ddpm/diffusion/diffusion.h"
#include "ddpm/diffusion/diffusion_config.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/nn/precision.h"
#include "ddpm/nn/unet.h"

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace ddpm::nn {

/// What is needed to use a network besides its weights: a checkpoint's model.toml. Its sections are
/// [image] (shape and class names), [model] and [diffusion].
struct ModelDescription {
  UNetConfig unet;
  diffusion::DiffusionConfig diffusion;
  std::vector<std::string> class_names;

  bool operator==(const ModelDescription&) const = default;
};

/// The description without what has no effect: the classes of an unconditional network, and keys
/// that its schedule does not read. Two such descriptions are equal if and only if the same weights
/// give the same results in both networks.
ModelDescription without_unused(ModelDescription description);

/// Reads model.toml. Throws IoError or ConfigError.
ModelDescription read_model_description(const std::filesystem::path& path);
/// The same from a document; its other sections are not read.
ModelDescription read_model_description(config::Document& document);

/// The text of a model.toml: reading it gives the same description.
std::string to_toml(const ModelDescription& description);
/// The same as {"image": {...}, "model": {...}, "diffusion": {...}}.
nlohmann::ordered_json to_json(const ModelDescription& description);

/// Parameters under their names, or other tensors (averages, moments) under the same names with a
/// prefix.
std::vector<io::NamedTensor> named_weights(const torch::nn::Module& module);
std::vector<io::NamedTensor> named_weights(const torch::nn::Module& module,
                                           const std::vector<torch::Tensor>& tensors,
                                           const std::string& prefix = "");

/// Copies the file's tensors `prefix + name` into `tensors`, one per parameter of `module`. Throws
/// IoError if one is missing or has another shape.
void load_weights_(const io::SafetensorsFile& file, const torch::nn::Module& module,
                   const std::vector<torch::Tensor>& tensors, const std::string& prefix = "");

/// `weights` in the order of the module's parameters, found by name. Throws IoError(source, ...) if
/// a tensor is missing, unknown, given twice, of another shape or of an integer type.
std::vector<io::NamedTensor> ordered_like(const torch::nn::Module& module,
                                          const std::vector<io::NamedTensor>& weights,
                                          const std::filesystem::path& source);

/// Copies weights into the module's parameters by their names. Throws IoError as ordered_like.
void load_(torch::nn::Module& module, const std::vector<io::NamedTensor>& weights,
           const std::filesystem::path& source);
/// The same from a file. Only one of its tensors is in memory at a time.
void load_(torch::nn::Module& module, const io::SafetensorsFile& file);

/// The class of each image, if `classes` are used in turn: image i has classes[i mod size]. int64
/// [images] on `device`; undefined if there are no classes.
torch::Tensor labels_in_turn(const std::vector<int64_t>& images,
                             const std::vector<int64_t>& classes, const torch::Device& device);

/// The network as samplers use it (diffusion::Denoiser), without gradients: it reads what
/// diffusion.network_input says. The caller sets eval mode. labels: the class of each image of a batch, int64 [B] on the network's device; ignored by
/// an unconditional network.
/// On a GPU in bf16 the weights are cast here, once: the denoiser is of the weights as they are now.
diffusion::Denoiser make_denoiser(UNet unet, const diffusion::Diffusion& diffusion,
                                  Precision precision,
                                  const torch::Tensor& labels = torch::Tensor());

/// Which gradients a denoiser can give.
enum class Gradients {
  kNone,
  kOfInput,  ///< with respect to x_t, where the caller has autograd on
};

/// The same with the classes given at each call: int64 [B] on the network's device, undefined for an
/// unconditional network.
using LabelledDenoiser = std::function<torch::Tensor(
    const torch::Tensor& x_t, const torch::Tensor& t, const torch::Tensor& labels)>;
LabelledDenoiser make_labelled_denoiser(UNet unet, const diffusion::Diffusion& diffusion,
                                        Precision precision,
                                        Gradients gradients = Gradients::kNone);

/// That network with these classes: int64 [N], of which a batch of B takes the first B; undefined
/// for an unconditional network.
diffusion::Denoiser with_labels(LabelledDenoiser network, const torch::Tensor& labels);

}  // namespace ddpm::nn
