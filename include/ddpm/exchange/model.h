#pragma once

#include "ddpm/nn/model_file.h"
#include "ddpm/sample/sample_config.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

// Networks from everywhere and to everywhere (docs/exchange.md).

namespace ddpm::exchange {

/// A network and all that is known of how to use it.
struct Model {
  nn::ModelDescription description;
  sample::SampleConfig sample;           ///< how to draw from it where nothing else is said
  std::vector<io::NamedTensor> weights;  ///< under the network's names, in the order of its
                                         ///< parameters, on the CPU, in the type of the source
  std::string origin;                    ///< for people: "diffusers folder", ...
  std::filesystem::path path;            ///< the checkpoint, folder or file that it was read from
  /// The file of the weights; `path` if the source is not a checkpoint of this program.
  std::filesystem::path weights_file;
  bool is_checkpoint = false;  ///< of this program
  std::string weights_name;    ///< "raw", "ema", "ema-2", ...; "" if the source has one
                               ///< set and does not say which
};

/// What a file of bare weights does not say of its network. Where a source says it, a hint is a
/// UsageError.
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

/// The same for whatever a user names: also a run, or a folder of runs, which stand for their newest
/// intact checkpoint (damaged ones are passed over with a warning). The one door for networks.
Model open(const std::filesystem::path& source, const std::string& weights = "",
           const Hints& hints = {}, Parts parts = Parts::kAll);

/// "raw weights", "ema weights", ...: Model::weights_name for people.
std::string describe_weights(const std::string& weights_name);

/// Is it something for read_model that is not a checkpoint or run of ours? True of every file;
/// looks at names only.
bool is_foreign(const std::filesystem::path& source);

/// Copies the weights into the network's parameters, bit for bit where the types agree. Throws
/// IoError, naming the source, where they are those of another network.
void load_weights_(const Model& model, nn::UNetImpl& unet);

/// The network with its weights, in eval mode.
nn::UNet make_unet(const Model& model, const torch::Device& device, nn::Precision precision);

/// `weights` in the order of the network's parameters. Throws IoError(source, ...) where a tensor
/// is missing, left over or of another shape.
std::vector<io::NamedTensor> arranged(const std::vector<io::NamedTensor>& weights,
                                      const nn::UNetConfig& unet,
                                      const std::filesystem::path& source);

}  // namespace ddpm::exchange
