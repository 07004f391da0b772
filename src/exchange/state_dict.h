#pragma once

#include "ddpm/exchange/model.h"
#include "ddpm/io/torch_file.h"

#include <filesystem>
#include <string>
#include <vector>

// Weights without a description: the content of a file of torch.save, and the networks that are
// recognised by the names of their tensors.

namespace ddpm::exchange {

struct StateDict {
  std::vector<io::NamedTensor> tensors;
  std::string origin;   ///< for people: which of the file's dicts it is
  std::string weights;  ///< as Model::weights_name
};

/// The network in a file of torch.save, at any depth of nested dicts and with any prefix of its
/// names, which is removed (networks_in.h). `weights`: raw for the trained ones, ema for the
/// averaged ones; "" takes the averaged ones if there are any. Throws IoError, and UsageError if
/// the file does not have these weights, or does not name them.
StateDict state_dict(const std::filesystem::path& file, const std::string& weights);

/// The tensors of a dict that is the whole file, as diffusers' .bin are. Throws IoError.
std::vector<io::NamedTensor> flat_state_dict(const std::filesystem::path& file);

/// Throws UsageError if `weights` names another set than the only one of `source`, whose name is
/// `has` ("": it has none). "" accepts any.
void expect_choice(const std::string& weights, const std::string& has,
                   const std::filesystem::path& source);

/// Does it hold this tensor?
const torch::Tensor* find_tensor(const std::vector<io::NamedTensor>& tensors,
                                 const std::string& name);

/// The tensor, which must be there. Throws IoError.
const torch::Tensor& get_tensor(const std::vector<io::NamedTensor>& tensors,
                                const std::string& name, const std::filesystem::path& source);

/// How many of prefix0suffix, prefix1suffix, ... there are.
int64_t count_of(const std::vector<io::NamedTensor>& tensors, const std::string& prefix,
                 const std::string& suffix);

/// A 1x1 convolution's [out, in, 1(, 1)] as a linear layer's [out, in].
torch::Tensor as_linear(const torch::Tensor& weight);

/// This program's names, which are diffusers'. They do not determine the architecture.
inline constexpr const char* kOurAnchor = "down_blocks.0.resnets.0.norm1.weight";
bool has_our_names(const std::vector<io::NamedTensor>& tensors);

/// PyTorch ports of Ho's networks (names temb.dense.0, down.0.block.0.norm1, ...). Only the
/// architecture and the weights are set.
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

/// lucidrains' denoising-diffusion-pytorch, which no network of this program can be.
inline constexpr const char* kLucidrainsAnchor = "time_mlp.1.weight";
bool is_lucidrains(const std::vector<io::NamedTensor>& tensors);
[[noreturn]] void refuse_lucidrains(const std::filesystem::path& source);

/// Sets height and width to the hint's, or so that the only level with attention is 16 pixels wide;
/// then the attention at the levels `attended`. Throws UsageError.
void set_images_(nn::UNetConfig& config, const std::vector<int64_t>& attended, const Hints& hints,
                 const std::filesystem::path& source);

/// [diffusion] from hints. OpenAI's linear schedule ends at 20 / T instead of 0.02.
diffusion::DiffusionConfig hinted_diffusion(const Hints& hints, bool betas_by_steps);

}  // namespace ddpm::exchange
