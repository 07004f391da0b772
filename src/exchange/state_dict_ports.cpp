// Two more ports of Ho's network with other names: w86763777's and tqch's.
#include "ddpm/base/error.h"
#include "state_dict.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <torch/types.h>

namespace ddpm::exchange {
namespace {

namespace fs = std::filesystem;
using Tensors = std::vector<io::NamedTensor>;

/// Collects tensors with our names.
class Renamer {
 public:
  Renamer(const Tensors& tensors, const fs::path& source) : tensors_(tensors), source_(source) {}

  bool has(const std::string& name) const { return find_tensor(tensors_, name) != nullptr; }
  const torch::Tensor& get(const std::string& name) const {
    return get_tensor(tensors_, name, source_);
  }
  void add(const std::string& name, const torch::Tensor& tensor) {
    result_.push_back({name, tensor});
  }
  /// Copies from.weight and from.bias.
  void copy(const std::string& from, const std::string& to) {
    for (const char* part : {".weight", ".bias"}) add(to + part, get(from + part));
    used_ += 2;
  }
  /// Copies a 1x1 convolution as a linear layer.
  void copy_point(const std::string& from, const std::string& to) {
    for (const char* part : {".weight", ".bias"}) add(to + part, as_linear(get(from + part)));
    used_ += 2;
  }
  /// Splits [3C, ...] into three of [C, ...].
  void split(const std::string& from, const std::vector<std::string>& to) {
    for (const char* part : {".weight", ".bias"}) {
      const torch::Tensor rows = as_linear(get(from + part));
      if (rows.size(0) % 3 != 0) fail(from + " has not three equal parts");
      for (size_t i = 0; i < to.size(); ++i) add(to[i] + part, rows.chunk(3)[i].contiguous());
    }
    used_ += 2;
  }
  [[noreturn]] void fail(const std::string& message) const { throw IoError(source_, message); }
  /// `passed_over`: the number of known tensors that are not copied.
  Tensors finished(size_t passed_over) {
    if (used_ + passed_over != tensors_.size())
      fail(fmt::format("has {} tensors, of which {} are known; it is another network",
                       tensors_.size(), used_ + passed_over));
    return std::move(result_);
  }

 private:
  const Tensors& tensors_;
  const fs::path& source_;
  Tensors result_;
  size_t used_ = 0;
};

// Reads the architecture from tensors with our names.
std::vector<int64_t> read_shape_(nn::UNetConfig& c, const Tensors& weights,
                                 const fs::path& source) {
  const auto width = [&](const std::string& name, int64_t axis) {
    const torch::Tensor& tensor = get_tensor(weights, name, source);
    if (axis >= tensor.dim()) throw IoError(source, fmt::format("{} has too few axes", name));
    return tensor.size(axis);
  };
  c.channels = width("conv_in.weight", 0);
  c.image.channels = width("conv_in.weight", 1);
  c.learned_variance = width("conv_out.weight", 0) == 2 * c.image.channels;
  c.blocks = count_of(weights, "down_blocks.0.resnets.", ".norm1.weight");
  c.mid_attention = find_tensor(weights, "mid_block.attentions.0.group_norm.weight") != nullptr;
  c.channel_multipliers.clear();
  std::vector<int64_t> attended;
  const int64_t levels = count_of(weights, "down_blocks.", ".resnets.0.norm1.weight");
  for (int64_t level = 0; level < levels; ++level) {
    const std::string block = fmt::format("down_blocks.{}.", level);
    const int64_t channels = width(block + "resnets.0.conv1.weight", 0);
    if (channels % c.channels != 0)
      throw IoError(source, fmt::format("level {} has {} channels, no multiple of the first "
                                        "convolution's {}",
                                        level, channels, c.channels));
    c.channel_multipliers.push_back(channels / c.channels);
    if (find_tensor(weights, block + "attentions.0.group_norm.weight")) attended.push_back(level);
  }
  return attended;
}

// w86763777: one list of blocks in the encoder and one in the decoder, with resampling in between.
void w86_block(Renamer& names, const std::string& from, const std::string& block, int64_t i) {
  const std::string to = fmt::format("{}.resnets.{}", block, i);
  names.copy(from + ".block1.0", to + ".norm1");
  names.copy(from + ".block1.2", to + ".conv1");
  names.copy(from + ".temb_proj.1", to + ".time_emb_proj");
  names.copy(from + ".block2.0", to + ".norm2");
  names.copy(from + ".block2.3", to + ".conv2");
  if (names.has(from + ".shortcut.weight")) names.copy(from + ".shortcut", to + ".conv_shortcut");
  if (!names.has(from + ".attn.group_norm.weight")) return;
  const std::string attention = fmt::format("{}.attentions.{}", block, i);
  names.copy(from + ".attn.group_norm", attention + ".group_norm");
  for (const char* part : {"q", "k", "v"})
    names.copy_point(fmt::format("{}.attn.proj_{}", from, part),
                     fmt::format("{}.to_{}", attention, part));
  names.copy_point(from + ".attn.proj", attention + ".to_out.0");
}

void w86_way(Renamer& names, const std::string& list, const std::string& blocks,
             const std::string& resampler) {
  int64_t level = 0, i = 0;
  for (int64_t n = 0;; ++n) {
    const std::string from = fmt::format("{}.{}", list, n);
    const std::string to = fmt::format("{}.{}", blocks, level);
    if (names.has(from + ".block1.0.weight")) {
      w86_block(names, from, to, i++);
    } else if (names.has(from + ".main.weight")) {
      names.copy(from + ".main", fmt::format("{}.{}.0.conv", to, resampler));
      ++level;
      i = 0;
    } else {
      return;
    }
  }
}

// `table`: alternating sin and cos, [T, C]. Ours has all sines first, so the next layer's columns
// are reordered. Throws if it is another table.
void w86_time(Renamer& names, const torch::Tensor& table) {
  if (table.dim() != 2 || table.size(1) % 2 != 0)
    names.fail("has a table of time features that is none");
  const int64_t half = table.size(1) / 2;
  const torch::Tensor position = torch::arange(table.size(0), torch::kDouble).unsqueeze(1);
  const torch::Tensor frequency = torch::exp(torch::arange(half, torch::kDouble) *
                                             (-std::log(10000.0) / static_cast<double>(half)));
  const torch::Tensor angle = position * frequency;
  const torch::Tensor expected = torch::stack({angle.sin(), angle.cos()}, -1).flatten(1);
  // Angles are up to T in float32, so each has an error of up to T * 1e-7.
  const double tolerance = 1e-4 + 1e-6 * static_cast<double>(table.size(0));
  if (!((table.to(torch::kDouble) - expected).abs().max().item<double>() < tolerance))
    names.fail("has another table of time features than sines and cosines to the base 10000");
  const std::string from = "time_embedding.timembedding.1";
  const torch::Tensor& weight = names.get(from + ".weight");
  if (weight.dim() != 2 || weight.size(1) != 2 * half)
    names.fail(from + " does not fit its table of time features");
  const auto columns = torch::arange(2 * half, torch::kLong).view({half, 2}).t().flatten();
  names.copy("time_embedding.timembedding.3", "time_embedding.linear_2");
  names.add("time_embedding.linear_1.weight", weight.index_select(1, columns));
  names.add("time_embedding.linear_1.bias", names.get(from + ".bias"));
}

// tqch: a dict of levels in encoder and decoder. A block is two modules if its level has attention.
void tqch_residual(Renamer& names, const std::string& from, const std::string& to) {
  for (const char* part : {".norm1", ".conv1", ".norm2", ".conv2"})
    names.copy(from + part, to + part);
  names.copy(from + ".fc", to + ".time_emb_proj");
  if (names.has(from + ".skip.weight")) names.copy(from + ".skip", to + ".conv_shortcut");
}

void tqch_attention(Renamer& names, const std::string& from, const std::string& to) {
  names.copy(from + ".norm", to + ".group_norm");
  names.split(from + ".project_in", {to + ".to_q", to + ".to_k", to + ".to_v"});
  names.copy_point(from + ".project_out", to + ".to_out.0");
}

void tqch_level(Renamer& names, const std::string& from, const std::string& to,
                const std::string& resampler) {
  for (int64_t i = 0;; ++i) {
    const std::string block = fmt::format("{}.{}", from, i);
    const std::string residual = fmt::format("{}.resnets.{}", to, i);
    if (names.has(block + ".norm1.weight")) {
      tqch_residual(names, block, residual);
    } else if (names.has(block + ".0.norm1.weight")) {
      tqch_residual(names, block + ".0", residual);
      tqch_attention(names, block + ".1", fmt::format("{}.attentions.{}", to, i));
    } else {
      if (names.has(block + ".1.weight"))
        names.copy(block + ".1", fmt::format("{}.{}.0.conv", to, resampler));
      return;
    }
  }
}

}  // namespace

bool is_w86(const Tensors& tensors) {
  return find_tensor(tensors, "time_embedding.timembedding.1.weight") &&
         find_tensor(tensors, "downblocks.0.block1.0.weight") &&
         find_tensor(tensors, "head.weight");
}

Model w86_unet(const Tensors& tensors, const Hints& hints, const fs::path& source) {
  Renamer names(tensors, source);
  const torch::Tensor& table = names.get("time_embedding.timembedding.0.weight");
  w86_time(names, table);
  names.copy("head", "conv_in");
  w86_way(names, "downblocks", "down_blocks", "downsamplers");
  for (int64_t i = 0; i < 2; ++i) {
    w86_block(names, fmt::format("middleblocks.{}", i), "mid_block", i);
  }
  w86_way(names, "upblocks", "up_blocks", "upsamplers");
  names.copy("tail.0", "conv_norm_out");
  names.copy("tail.2", "conv_out");
  Model model;
  model.origin = "w86763777's pytorch-ddpm";
  model.weights = names.finished(/*passed_over=*/3);  // the table and the layer after it
  nn::UNetConfig& c = model.description.unet;
  set_images_(c, read_shape_(c, model.weights, source), hints, source);
  c.groups = hints.groups.value_or(32);
  c.norm_eps = 1e-5;
  c.same_padding = false;
  c.sinusoid = {.cosine_first = false, .freq_shift = 0.0};
  Hints known = hints;
  known.timesteps = table.size(0);
  if (hints.timesteps && hints.timesteps != known.timesteps)
    throw UsageError(fmt::format("--timesteps {}: {} is made for {}", *hints.timesteps,
                                 source.string(), *known.timesteps));
  model.description.diffusion = hinted_diffusion(known, /*betas_by_steps=*/false);
  model.sample.sigma = sample::Sigma::kLarge;  // its sampler's default, which clips only the last x
  model.sample.clip = sample::Clip::kNone;
  return model;
}

bool is_tqch(const Tensors& tensors) {
  return find_tensor(tensors, "in_conv.weight") && find_tensor(tensors, "embed.0.weight") &&
         find_tensor(tensors, "middle.0.norm1.weight");
}

Model tqch_unet(const Tensors& tensors, const Hints& hints, const fs::path& source) {
  Renamer names(tensors, source);
  names.copy("in_conv", "conv_in");
  names.copy("embed.0", "time_embedding.linear_1");
  names.copy("embed.2", "time_embedding.linear_2");
  int64_t levels = 0;
  while (names.has(fmt::format("downsamples.level_{}.0.norm1.weight", levels)) ||
         names.has(fmt::format("downsamples.level_{}.0.0.norm1.weight", levels)))
    ++levels;
  for (int64_t level = 0; level < levels; ++level) {
    tqch_level(names, fmt::format("downsamples.level_{}", level),
               fmt::format("down_blocks.{}", level), "downsamplers");
    tqch_level(names, fmt::format("upsamples.level_{}", level),
               fmt::format("up_blocks.{}", levels - 1 - level), "upsamplers");
  }
  tqch_residual(names, "middle.0", "mid_block.resnets.0");
  tqch_attention(names, "middle.1", "mid_block.attentions.0");
  tqch_residual(names, "middle.2", "mid_block.resnets.1");
  names.copy("out_conv.0", "conv_norm_out");
  names.copy("out_conv.2", "conv_out");
  Model model;
  model.origin = "tqch's ddpm-torch";
  model.weights = names.finished(0);
  nn::UNetConfig& c = model.description.unet;
  const std::vector<int64_t> attended = read_shape_(c, model.weights, source);
  if (levels > 1 && !find_tensor(model.weights, "down_blocks.0.downsamplers.0.conv.weight"))
    names.fail(
        "pools where Ho's network convolves (resample_with_conv = false), which cannot be "
        "expressed");
  if (c.image.channels != 1 && c.image.channels != 3)
    names.fail(
        fmt::format("works on {} channels, as with block_size above 1 (pixels unshuffled "
                    "before the network), which cannot be expressed",
                    c.image.channels));
  if (c.learned_variance)
    names.fail(
        "has a learned variance of its own kind (model_var_type = learned), which cannot be "
        "expressed");
  set_images_(c, attended, hints, source);
  c.groups = hints.groups.value_or(32);
  model.description.diffusion = hinted_diffusion(hints, /*betas_by_steps=*/false);
  model.sample.sigma = sample::Sigma::kLarge;  // its configs' model_var_type
  return model;
}

bool is_lucidrains(const Tensors& tensors) {
  const auto is_block = [](const io::NamedTensor& t) {
    return t.name.starts_with("downs.0.0.block1.");
  };
  return find_tensor(tensors, kLucidrainsAnchor) &&
         std::any_of(tensors.begin(), tensors.end(), is_block);
}

void refuse_lucidrains(const fs::path& source) {
  throw IoError(
      source,
      "is a network of denoising-diffusion-pytorch (7x7 first convolution, RMS norms, linear "
      "attention), which this one cannot express; train anew, or sample from it there");
}

}  // namespace ddpm::exchange
