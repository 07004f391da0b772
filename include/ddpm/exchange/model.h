#pragma once

#include "ddpm/nn/model_file.h"
#include "ddpm/sample/sample_config.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

// Networks of this and other programs (docs/exchange.md).

namespace ddpm::exchange {

/// A network and its description.
struct Model {
  nn::ModelDescription description;
  sample::SampleConfig sample;           ///< its default sampling
  std::vector<io::NamedTensor> weights;  ///< under the network's names, in the order of its
                                         ///< parameters, on the CPU, in the type of the source
  std::string origin;                    ///< as text: "diffusers folder", ...
  std::filesystem::path path;            ///< the checkpoint, folder or file that it was read from
  /// The file of the weights; `path` if the source is not a checkpoint of this program.
  std::filesystem::path weights_file;
  bool is_checkpoint = false;  ///< of this program
  std::string weights_name;    ///< "raw", "ema", "ema-2", ...; "" if the source has one
                               ///< set and does not say which
};

/// Properties of a network that a file of weights does not contain. If a source has one, a hint for
/// it is a UsageError.
struct Hints {
  std::optional<int64_t> image_size;      ///< images are square
  std::optional<int64_t> heads;           ///< of every attention block
  std::optional<int64_t> head_channels;   ///< instead of heads
  std::optional<int64_t> groups;          ///< of every GroupNorm; 32
  std::optional<int64_t> timesteps;       ///< T; 1000
  std::optional<std::string> schedule;    ///< linear, cosine; linear
  std::optional<std::string> prediction;  ///< eps
  bool new_attention_order = false;       ///< OpenAI's use_new_attention_order
  bool rescale_timesteps = false;         ///< OpenAI's flag of this name: t is fed as 1000 t / T
  bool any() const;
  bool any_of_network() const;  ///< without timesteps, schedule and prediction
};

/// Reads a network from
///   - a checkpoint of ours (the folder itself; `weights` raw, ema, ema-2, ...),
///   - a diffusers folder: UNet2DModel with a DDPM or DDIM scheduler,
///   - safetensors or a file of torch.save, told apart by their first bytes: with the description
///   in
///     it, or a model.toml or config.json beside it; or a network of the Ho ports, of OpenAI's,
///     ..., whose architecture is read off the tensors' shapes.
/// `weights` = "" takes the averaged weights if there are any; Model::weights_name says which were
/// taken. Throws IoError or UsageError, naming what cannot be expressed or is not there.
Model read_model(const std::filesystem::path& source, const std::string& weights = "",
                 const Hints& hints = {});

/// How much of a network to read.
enum class Parts {
  kAll,
  kDescription,  ///< of a checkpoint of this program no weights: load_weights_ reads their file
};

/// The same for any path of a user: also a run or a folder of runs, of which it takes the newest
/// intact checkpoint (damaged ones are skipped with a warning). Every command opens networks with
/// it.
Model open(const std::filesystem::path& source, const std::string& weights = "",
           const Hints& hints = {}, Parts parts = Parts::kAll);

/// "raw weights", "ema weights", ...: Model::weights_name for people.
std::string describe_weights(const std::string& weights_name);

/// Whether it is a source for read_model that is no checkpoint or run of this program. True for
/// every file. Looks only at names.
bool is_foreign(const std::filesystem::path& source);

/// Copies the weights into the network's parameters, without rounding if the types agree. Throws
/// IoError, naming the source, if they are of another network.
void load_weights_(const Model& model, nn::UNetImpl& unet);

/// The network with its weights, in eval mode.
nn::UNet make_unet(const Model& model, const torch::Device& device, nn::Precision precision);

/// `weights` in the order of the network's parameters. Throws IoError(source, ...) if a tensor is
/// missing, unknown or of another shape.
std::vector<io::NamedTensor> arranged(const std::vector<io::NamedTensor>& weights,
                                      const nn::UNetConfig& unet,
                                      const std::filesystem::path& source);

}  // namespace ddpm::exchange
