#pragma once

#include "ddpm/checkpoint/averages.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/sample/sample_config.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

// Networks of this and other programs (docs/exchange.md).

namespace ddpm::exchange {

/// A network and its description.
struct Model {
  nn::ModelDescription description;
  sample::SampleConfig sample;           ///< default settings for sampling
  std::vector<io::NamedTensor> weights;  ///< with the network's names, in the order of its
                                         ///< parameters, on the CPU, in the source's data type
  std::string origin;                    ///< "diffusers folder", ...; for messages
  std::filesystem::path path;            ///< the checkpoint, folder or file of the network
  /// The file of the weights, or `path` if the source is not a checkpoint of this program.
  std::filesystem::path weights_file;
  bool is_checkpoint = false;  ///< of this program
  /// How weights of name "ema-length-..." are rebuilt; null for others.
  std::shared_ptr<const checkpoint::RebuiltEma> rebuilt;
  std::string weights_name;  ///< "raw", "ema", "ema-2", ...; "" if the source has one
                             ///< set without a name
};

/// Properties of a network that are missing in a file of weights. A hint for a property that the
/// source contains is a UsageError.
struct Hints {
  std::optional<int64_t> image_size;      ///< images are square
  std::optional<int64_t> heads;           ///< of every attention block
  std::optional<int64_t> head_channels;   ///< instead of heads
  std::optional<int64_t> groups;          ///< of every GroupNorm; default 32
  std::optional<int64_t> timesteps;       ///< T; default 1000
  std::optional<std::string> schedule;    ///< linear or cosine; default linear
  std::optional<std::string> prediction;  ///< default eps
  bool new_attention_order = false;       ///< OpenAI's use_new_attention_order
  bool rescale_timesteps = false;         ///< OpenAI's flag: the network gets 1000 t / T, not t
  bool any() const;
  bool any_of_network() const;  ///< ignores timesteps, schedule, prediction
};

/// Reads a network from
///   - a checkpoint of this program (the folder itself; `weights`: raw, ema, ema-2, ..., or
///     ema-length-0.07: rebuilt from the run's snapshots, checkpoint/averages.h),
///   - a diffusers folder: UNet2DModel with a DDPM or DDIM scheduler,
///   - a file of safetensors or torch.save, distinguished by its first bytes. The description is in
///     the file, or in model.toml or config.json in the same folder. For ports of Ho's network,
///     OpenAI's networks, ..., the architecture is derived from the tensors' shapes.
/// `weights` = "" selects the EMA weights if there are any; Model::weights_name names the selected
/// ones. Throws IoError or UsageError, naming what is not supported or missing.
Model read_model(const std::filesystem::path& source, const std::string& weights = "",
                 const Hints& hints = {});

/// How much of a network to read.
enum class Parts {
  kAll,
  kDescription,  ///< no weights if it is a checkpoint of this program; load_weights_ reads them
};

/// The same for any path of a user. If it is a run or a folder of runs, opens the newest intact
/// checkpoint and skips damaged ones with a warning. Every command opens networks with it.
Model open(const std::filesystem::path& source, const std::string& weights = "",
           const Hints& hints = {}, Parts parts = Parts::kAll);

/// Model::weights_name for messages: "raw weights", "ema weights", ...
std::string describe_weights(const std::string& weights_name);

/// Whether it is a file or a diffusers folder, not a checkpoint or run of this program. Only looks
/// at file names.
bool is_foreign(const std::filesystem::path& source);

/// The folder of the run that the network is a checkpoint of; "" if it is none.
std::filesystem::path run_of(const Model& model);

/// Copies the weights into the network's parameters, without rounding if the data types are equal.
/// Throws IoError, naming the source, if they are of another network.
void load_weights_(const Model& model, nn::UNetImpl& unet);

/// The network's weights for a run that begins with them (--init-from): zeros for what it did not
/// read before (a condition, its own estimate, labels of the augmentation, vectors), which at first
/// changes nothing. Vectors with another mean and deviation give the same outputs as before.
Model widened(Model model, const nn::UNetConfig& unet);

/// The network with its weights, ready to be called: in eval mode, and without gradients of its
/// parameters, so that calls record nothing.
nn::UNet make_unet(const Model& model, const torch::Device& device, nn::Precision precision);

/// Returns `weights` in the order of the network's parameters. Throws IoError(source, ...) if a
/// tensor is missing, unknown or of another shape.
std::vector<io::NamedTensor> arranged(const std::vector<io::NamedTensor>& weights,
                                      const nn::UNetConfig& unet,
                                      const std::filesystem::path& source);

/// CRC32C of the selected weights: of their file if the model is a checkpoint of this program, else
/// of the tensors' bytes. Of rebuilt weights: checkpoint::checksum. Throws IoError.
uint32_t weights_checksum(const Model& model);

}  // namespace ddpm::exchange
