#include "ddpm/base/error.h"
#include "state_dict.h"

#include <array>

#include <fmt/format.h>

namespace ddpm::exchange {
namespace {

namespace fs = std::filesystem;
using Tensors = std::vector<io::NamedTensor>;

constexpr int64_t kAttentionResolution = 16;  // level with attention in Ho 2020

using Rename = std::pair<std::string, std::string>;

// down.1.block.0.temb_proj -> down_blocks.1.resnets.0.time_emb_proj, and so on. In the decoder, Ho
// counts levels by resolution, diffusers in the order of use.
std::string renamed(const std::string& name, int64_t levels) {
  static const std::array<Rename, 7> kWhole = {{{"temb.dense.0.", "time_embedding.linear_1."},
                                                {"temb.dense.1.", "time_embedding.linear_2."},
                                                {"norm_out.", "conv_norm_out."},
                                                {"mid.block_1.", "mid_block.resnets.0."},
                                                {"mid.block_2.", "mid_block.resnets.1."},
                                                {"mid.attn_1.", "mid_block.attentions.0."},
                                                {"mid.attn.", "mid_block.attentions.0."}}};
  static const std::array<Rename, 2> kBlock = {
      {{".temb_proj.", ".time_emb_proj."}, {".nin_shortcut.", ".conv_shortcut."}}};
  static const std::array<Rename, 5> kAttention = {{{".norm.", ".group_norm."},
                                                    {".q.", ".to_q."},
                                                    {".k.", ".to_k."},
                                                    {".v.", ".to_v."},
                                                    {".proj_out.", ".to_out.0."}}};
  std::string result = name;
  for (const auto& [theirs, ours] : kWhole) {
    if (name.starts_with(theirs)) result = ours + name.substr(theirs.size());
  }
  int level = 0, used = 0;
  char way[5] = "";
  if (std::sscanf(name.c_str(), "%4[a-z].%3d.%n", way, &level, &used) == 2 && used > 0) {
    const bool up = std::string(way) == "up";
    std::string rest = name.substr(static_cast<size_t>(used));
    if (rest.starts_with("block.")) rest = "resnets." + rest.substr(6);
    if (rest.starts_with("attn.")) rest = "attentions." + rest.substr(5);
    if (rest.starts_with("downsample.")) rest = "downsamplers.0." + rest.substr(11);
    if (rest.starts_with("upsample.")) rest = "upsamplers.0." + rest.substr(9);
    if (up || std::string(way) == "down")
      result = fmt::format("{}_blocks.{}.{}", way, up ? levels - 1 - level : level, rest);
  }
  const auto replace = [&](const auto& table) {
    for (const auto& [theirs, ours] : table) {
      const size_t at = result.find(theirs);
      if (at != std::string::npos) {
        result.replace(at, theirs.size(), ours);
        return;
      }
    }
  };
  replace(kBlock);
  if (result.find("attentions.") != std::string::npos) replace(kAttention);
  return result;
}

}  // namespace

void set_images_(nn::UNetConfig& c, const std::vector<int64_t>& attended, const Hints& hints,
                 const fs::path& source) {
  if (hints.image_size) {
    c.image.height = c.image.width = *hints.image_size;
  } else if (attended.size() != 1) {
    throw UsageError(
        fmt::format("{} does not say how large its images are; use ddpm convert with --image-size",
                    source.string()));
  } else {
    c.image.height = c.image.width = kAttentionResolution << attended[0];
  }
  nn::set_attention_levels_(c, attended);
}

bool is_ho_port(const Tensors& tensors) {
  return find_tensor(tensors, "temb.dense.0.weight") && find_tensor(tensors, "conv_in.weight");
}

Model ho_port(const Tensors& tensors, const Hints& hints, const fs::path& source) {
  const auto size = [&](const std::string& name, int64_t axis) {
    const torch::Tensor& tensor = get_tensor(tensors, name, source);
    if (axis >= tensor.dim()) throw IoError(source, fmt::format("{} has too few axes", name));
    return tensor.size(axis);
  };
  Model model;
  model.origin = "PyTorch port of Ho 2020";
  nn::UNetConfig& c = model.description.unet;
  c.channels = size("conv_in.weight", 0);
  c.image.channels = size("conv_in.weight", 1);
  c.learned_variance = size("conv_out.weight", 0) == 2 * c.image.channels;
  c.groups = hints.groups.value_or(32);
  const int64_t levels = count_of(tensors, "down.", ".block.0.norm1.weight");
  if (levels == 0 || levels > 10) throw IoError(source, "has no levels down.0.block.0, ...");
  c.blocks = count_of(tensors, "down.0.block.", ".norm1.weight");
  c.channel_multipliers.clear();
  std::vector<int64_t> attended;
  for (int64_t level = 0; level < levels; ++level) {
    const int64_t width = size(fmt::format("down.{}.block.0.conv1.weight", level), 0);
    if (width % c.channels != 0)
      throw IoError(source, fmt::format("level {} has {} channels, no multiple of the first "
                                        "convolution's {}",
                                        level, width, c.channels));
    c.channel_multipliers.push_back(width / c.channels);
    if (find_tensor(tensors, fmt::format("down.{}.attn.0.q.weight", level)))
      attended.push_back(level);
  }
  c.mid_attention =
      find_tensor(tensors, "mid.attn_1.q.weight") || find_tensor(tensors, "mid.attn.q.weight");
  set_images_(c, attended, hints, source);
  for (const io::NamedTensor& t : tensors) {
    const std::string name = renamed(t.name, levels);
    const bool point = name.find("attentions.") != std::string::npos;
    model.weights.push_back({name, point ? as_linear(t.tensor) : t.tensor});
  }
  model.description.diffusion = hinted_diffusion(hints, /*betas_by_steps=*/false);
  return model;
}

}  // namespace ddpm::exchange
