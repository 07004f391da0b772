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
/// [image] (shape and class names), [model], [diffusion] and, of a vector-conditional network,
/// [vectors].
struct ModelDescription {
  UNetConfig unet;
  diffusion::DiffusionConfig diffusion;
  std::vector<std::string> class_names;
  int64_t depth = 8;  ///< bits per channel of the pictures that it draws, 8 or 16: data.depth

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
/// The same as {"image": {...}, "model": {...}, "diffusion": {...}}, with "vectors" without its rows.
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

/// What a network reads of each image of a batch besides x_t and t, on its device.
struct Given {
  Given(torch::Tensor labels = {}, torch::Tensor condition = {},  // labels alone are enough
        torch::Tensor estimate = {}, torch::Tensor vectors = {})
      : labels(std::move(labels)),
        condition(std::move(condition)),
        estimate(std::move(estimate)),
        vectors(std::move(vectors)) {}

  torch::Tensor labels;     ///< int64 [B]; undefined for a network without classes
  torch::Tensor condition;  ///< [B,c,H,W] (diffusion::condition_input); undefined without one
  /// [B,C,H,W], the former estimate of x0 (diffusion::SelfConditioning); undefined: zeros
  torch::Tensor estimate;
  /// [B,D], as in the data, a row of NaN for an image without one; undefined for a network that
  /// reads none
  torch::Tensor vectors;
};

/// The same images without their classes, vectors and conditions, of what `config` has been trained
/// without.
Given without_condition(const UNetConfig& config, Given given);

/// The network as samplers use it (diffusion::Denoiser), without gradients: it reads what
/// diffusion.network_input says. The caller sets eval mode. given: of each image of a batch.
/// On a GPU in bf16 the weights are cast here, once: the denoiser is of the weights as they are now.
diffusion::Denoiser make_denoiser(UNet unet, const diffusion::Diffusion& diffusion,
                                  Precision precision, const Given& given = {});

/// Which gradients a denoiser can give.
enum class Gradients {
  kNone,
  kOfInput,  ///< with respect to x_t, where the caller has autograd on
};

/// The same with the classes and the condition given at each call.
using LabelledDenoiser =
    std::function<torch::Tensor(const torch::Tensor& x_t, const torch::Tensor& t, const Given&)>;
LabelledDenoiser make_labelled_denoiser(UNet unet, const diffusion::Diffusion& diffusion,
                                        Precision precision,
                                        Gradients gradients = Gradients::kNone);

/// The first `count` rows of each.
Given first_of(const Given& given, int64_t count);

/// That network with these classes and conditions of N images, of which a batch of B takes the first
/// B.
diffusion::Denoiser with_labels(LabelledDenoiser network, const Given& given);

}  // namespace ddpm::nn
