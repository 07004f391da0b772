#pragma once

#include "ddpm/exchange/model.h"
#include "ddpm/io/torch_file.h"

#include <filesystem>
#include <string>
#include <vector>

// Weights without a description: files of torch.save, and networks that are identified by their
// tensors' names.

namespace ddpm::exchange {

struct StateDict {
  std::vector<io::NamedTensor> tensors;
  std::string origin;   ///< for messages: the dict in the file
  std::string weights;  ///< see Model::weights_name
};

/// The network in a file of torch.save, in nested dicts of any depth. A prefix of its names is
/// removed (networks_in.h). `weights`: raw or ema; "" selects the EMA weights if there are any.
/// Throws IoError, and UsageError if the file does not have these weights, or does not name them.
StateDict state_dict(const std::filesystem::path& file, const std::string& weights);

/// The tensors of a file that is a single dict, such as diffusers' .bin. Throws IoError.
std::vector<io::NamedTensor> flat_state_dict(const std::filesystem::path& file);

/// Throws UsageError if `weights` is not "" and differs from `has`, the name of the only weights of
/// `source` ("": no name).
void expect_choice(const std::string& weights, const std::string& has,
                   const std::filesystem::path& source);

/// The tensor of this name; nullptr if there is none.
const torch::Tensor* find_tensor(const std::vector<io::NamedTensor>& tensors,
                                 const std::string& name);

/// The tensor of this name. Throws IoError if it is missing or empty.
const torch::Tensor& get_tensor(const std::vector<io::NamedTensor>& tensors,
                                const std::string& name, const std::filesystem::path& source);

/// The number of tensors prefix0suffix, prefix1suffix, ...
int64_t count_of(const std::vector<io::NamedTensor>& tensors, const std::string& prefix,
                 const std::string& suffix);

/// Converts a 1x1 convolution's weight [out, in, 1(, 1)] to a linear layer's [out, in].
torch::Tensor as_linear(const torch::Tensor& weight);

/// A tensor under this program's names, which are diffusers'. They do not determine the
/// architecture.
inline constexpr const char* kOurAnchor = "down_blocks.0.resnets.0.norm1.weight";
bool has_our_names(const std::vector<io::NamedTensor>& tensors);

/// PyTorch ports of Ho's networks (names temb.dense.0, down.0.block.0.norm1, ...). Sets only the
/// architecture and the weights.
bool is_ho_port(const std::vector<io::NamedTensor>& tensors);
Model ho_port(const std::vector<io::NamedTensor>& tensors, const Hints& hints,
              const std::filesystem::path& source);

/// OpenAI's improved- and guided-diffusion (names time_embed.0, input_blocks.1.0.in_layers.0, ...).
bool is_openai(const std::vector<io::NamedTensor>& tensors);
Model openai_unet(const std::vector<io::NamedTensor>& tensors, const Hints& hints,
                  const std::filesystem::path& source);

/// w86763777's pytorch-ddpm (names time_embedding.timembedding.1, downblocks.0.block1.0, ...).
bool is_w86(const std::vector<io::NamedTensor>& tensors);
Model w86_unet(const std::vector<io::NamedTensor>& tensors, const Hints& hints,
               const std::filesystem::path& source);

/// tqch's ddpm-torch (names embed.0, downsamples.level_0.0.norm1, ...).
bool is_tqch(const std::vector<io::NamedTensor>& tensors);
Model tqch_unet(const std::vector<io::NamedTensor>& tensors, const Hints& hints,
                const std::filesystem::path& source);

/// lucidrains' denoising-diffusion-pytorch, which is not supported.
inline constexpr const char* kLucidrainsAnchor = "time_mlp.1.weight";
bool is_lucidrains(const std::vector<io::NamedTensor>& tensors);
[[noreturn]] void refuse_lucidrains(const std::filesystem::path& source);

/// Sets height and width from the hint, or such that the only level with attention is 16 pixels
/// wide. Then sets attention at the levels `attended`. Throws UsageError.
void set_images_(nn::UNetConfig& config, const std::vector<int64_t>& attended, const Hints& hints,
                 const std::filesystem::path& source);

/// [diffusion] from the hints. `betas_by_steps`: OpenAI's linear schedule, which ends at 20 / T
/// instead of 0.02.
diffusion::DiffusionConfig hinted_diffusion(const Hints& hints, bool betas_by_steps);

}  // namespace ddpm::exchange
