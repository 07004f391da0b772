#include "ddpm/base/error.h"
#include "state_dict.h"

#include <fmt/format.h>

namespace ddpm::exchange {
namespace {

namespace fs = std::filesystem;
using Tensors = std::vector<io::NamedTensor>;

/// Renames the tensors of an OpenAI network to our names, module by module in the order of use.
class Importer {
 public:
  Importer(const Tensors& tensors, const Hints& hints, const fs::path& source)
      : tensors_(tensors), hints_(hints), source_(source) {}

  Model run() {
    read_shape();
    copy("time_embed.0", "time_embedding.linear_1");
    copy("time_embed.2", "time_embedding.linear_2");
    if (config().class_conditional) copy_one("label_emb.weight", "class_embedding.weight");
    way_down();
    block("middle_block.0", "mid_block.resnets.0");
    if (config().mid_attention) attention("middle_block.1", "mid_block.attentions.0");
    block(config().mid_attention ? "middle_block.2" : "middle_block.1", "mid_block.resnets.1");
    way_up();
    copy("out.0", "conv_norm_out");
    copy("out.2", "conv_out");
    if (model_.weights.size() < tensors_.size() + 4 * attentions_)
      refuse_leftover();  // qkv is split in 3
    model_.origin = "OpenAI's improved- or guided-diffusion";
    model_.description.diffusion = hinted_diffusion(hints_, /*betas_by_steps=*/true);
    // OpenAI's default sampler: respacing, and variance beta if it is not learned.
    model_.sample.spacing = sample::Spacing::kOpenai;
    model_.sample.sigma =
        config().learned_variance ? sample::Sigma::kLearned : sample::Sigma::kLarge;
    return std::move(model_);
  }

 private:
  nn::UNetConfig& config() { return model_.description.unet; }
  bool has(const std::string& name) const { return find_tensor(tensors_, name) != nullptr; }
  int64_t size(const std::string& name, int64_t axis) const {
    const torch::Tensor& tensor = get_tensor(tensors_, name, source_);
    if (axis >= tensor.dim()) throw IoError(source_, fmt::format("{} has too few axes", name));
    return tensor.size(axis);
  }
  [[noreturn]] void fail(const std::string& message) const { throw IoError(source_, message); }

  // Reads the architecture from the shapes. In the decoder, each level except the last ends with a
  // module that doubles the resolution. There are blocks + 1 entries of output_blocks per level.
  // The entries of input_blocks include downsampling and the first convolution.
  void read_shape() {
    nn::UNetConfig& c = config();
    c.channels = size("time_embed.0.weight", 1);
    c.image.channels = size("input_blocks.0.0.weight", 1);
    if (size("input_blocks.0.0.weight", 0) != c.channels)
      fail("begins narrower than its time embedding, which cannot be expressed");
    c.learned_variance = size("out.2.weight", 0) == 2 * c.image.channels;
    if (has("label_emb.weight")) {
      c.class_conditional = true;
      c.image.classes = size("label_emb.weight", 0);
    }
    c.time_scale_shift = size("middle_block.0.emb_layers.1.weight", 0) ==
                         2 * size("middle_block.0.out_layers.3.weight", 0);
    const int64_t outputs = count_of(tensors_, "output_blocks.", ".0.in_layers.0.weight");
    int64_t levels = 1;
    for (int64_t n = 0; n < outputs; ++n) {
      for (const int module : {1, 2}) {
        const std::string last = fmt::format("output_blocks.{}.{}.", n, module);
        c.residual_resample = c.residual_resample || has(last + "in_layers.0.weight");
        if (has(last + "in_layers.0.weight") || has(last + "conv.weight")) ++levels;
      }
    }
    if (outputs == 0 || outputs % levels != 0 || outputs / levels < 2)
      fail("has output_blocks that do not divide into levels");
    c.blocks = outputs / levels - 1;
    if (!has(fmt::format("input_blocks.{}.0.in_layers.0.weight", levels * (c.blocks + 1) - 1)))
      fail("has input_blocks that do not mirror its output_blocks");
    c.mid_attention = has("middle_block.1.qkv.weight");
    c.channel_multipliers.assign(static_cast<size_t>(levels), 1);
    c.groups = hints_.groups.value_or(32);
    c.norm_eps = 1e-5;
    c.same_padding = false;
    c.sinusoid.cosine_first = true;
    c.sinusoid.freq_shift = 0.0;
    if (hints_.rescale_timesteps)
      c.sinusoid.scale = 1000.0 / static_cast<double>(hints_.timesteps.value_or(1000));
    if (!hints_.image_size) {
      throw UsageError(fmt::format(
          "{} does not say how large its images are; use ddpm convert with --image-size",
          source_.string()));
    }
    c.image.height = c.image.width = *hints_.image_size;
    c.head_channels = hints_.head_channels.value_or(0);
    c.heads = hints_.heads.value_or(1);
  }

  void way_down() {
    copy("input_blocks.0.0", "conv_in");
    nn::UNetConfig& c = config();
    std::vector<int64_t> attended;
    int64_t n = 1;
    for (size_t level = 0; level < c.channel_multipliers.size(); ++level) {
      const std::string to = fmt::format("down_blocks.{}.", level);
      for (int64_t i = 0; i < c.blocks; ++i, ++n) {
        const std::string from = fmt::format("input_blocks.{}.", n);
        block(from + "0", fmt::format("{}resnets.{}", to, i));
        if (!has(from + "1.qkv.weight")) continue;
        attention(from + "1", fmt::format("{}attentions.{}", to, i));
        if (i == 0) attended.push_back(static_cast<int64_t>(level));
      }
      const int64_t width = size(fmt::format("input_blocks.{}.0.out_layers.3.weight", n - 1), 0);
      if (width % c.channels != 0)
        fail(fmt::format("level {} has {} channels, no multiple of the first convolution's {}",
                         level, width, c.channels));
      c.channel_multipliers[level] = width / c.channels;
      if (level + 1 == c.channel_multipliers.size()) break;
      const std::string from = fmt::format("input_blocks.{}.0", n++);
      if (c.residual_resample) {
        block(from, to + "downsamplers.0");
      } else {
        copy(from + ".op", to + "downsamplers.0.conv");
      }
    }
    nn::set_attention_levels_(c, attended);
  }

  void way_up() {
    const auto levels = static_cast<int64_t>(config().channel_multipliers.size());
    int64_t n = 0;
    for (int64_t i = 0; i < levels; ++i) {
      const std::string to = fmt::format("up_blocks.{}.", i);
      for (int64_t j = 0; j <= config().blocks; ++j, ++n) {
        const std::string from = fmt::format("output_blocks.{}.", n);
        block(from + "0", fmt::format("{}resnets.{}", to, j));
        int module = 1;
        if (has(from + "1.qkv.weight"))
          attention(fmt::format("{}{}", from, module++), fmt::format("{}attentions.{}", to, j));
        if (j < config().blocks || i + 1 == levels) continue;
        if (config().residual_resample) {
          block(fmt::format("{}{}", from, module), to + "upsamplers.0");
        } else {
          copy(fmt::format("{}{}.conv", from, module), to + "upsamplers.0.conv");
        }
      }
    }
  }

  void add(const std::string& name, const torch::Tensor& tensor) {
    model_.weights.push_back({name, tensor});
  }
  void copy_one(const std::string& from, const std::string& to) {
    add(to, get_tensor(tensors_, from, source_));
  }
  void copy(const std::string& from, const std::string& to) {
    copy_one(from + ".weight", to + ".weight");
    copy_one(from + ".bias", to + ".bias");
  }
  void block(const std::string& from, const std::string& to) {
    copy(from + ".in_layers.0", to + ".norm1");
    copy(from + ".in_layers.2", to + ".conv1");
    copy(from + ".emb_layers.1", to + ".time_emb_proj");
    copy(from + ".out_layers.0", to + ".norm2");
    copy(from + ".out_layers.3", to + ".conv2");
    if (has(from + ".skip_connection.weight"))
      copy(from + ".skip_connection", to + ".conv_shortcut");
  }

  // Splits qkv's rows [3C]. Older order: head by head, each with queries, keys and values. New
  // order: all queries, then all keys, then all values.
  void attention(const std::string& from, const std::string& to) {
    copy(from + ".norm", to + ".group_norm");
    const int64_t channels = size(from + ".norm.weight", 0);
    const int64_t heads = heads_of(channels);
    for (const char* part : {"weight", "bias"}) {
      const torch::Tensor qkv =
          as_linear(get_tensor(tensors_, fmt::format("{}.qkv.{}", from, part), source_));
      if (qkv.size(0) != 3 * channels)
        fail(fmt::format("{}.qkv has not 3 x {} rows", from, channels));
      const torch::Tensor rows = qkv.reshape({3 * channels, -1});
      const torch::Tensor parts = hints_.new_attention_order
                                      ? rows.reshape({3, channels, -1})
                                      : rows.reshape({heads, 3, channels / heads, -1})
                                            .transpose(0, 1)
                                            .reshape({3, channels, -1});
      const bool weight = std::string(part) == "weight";
      for (int i = 0; i < 3; ++i) {
        add(fmt::format("{}.to_{}.{}", to, "qkv"[i], part),
            weight ? parts[i].contiguous() : parts[i].flatten().contiguous());
      }
    }
    add(to + ".to_out.0.weight",
        as_linear(get_tensor(tensors_, from + ".proj_out.weight", source_)));
    copy_one(from + ".proj_out.bias", to + ".to_out.0.bias");
    ++attentions_;
  }

  int64_t heads_of(int64_t channels) {
    if (!hints_.heads && !hints_.head_channels) {
      throw UsageError(fmt::format(
          "{} does not say how many heads its attention has; use ddpm convert with --heads N "
          "(improved-diffusion's default is 4) or --head-channels N (guided-diffusion's is 64)",
          source_.string()));
    }
    const int64_t heads = hints_.head_channels
                              ? channels / std::max<int64_t>(*hints_.head_channels, 1)
                              : *hints_.heads;
    if (heads < 1 || channels % heads != 0)
      throw UsageError(
          fmt::format("attention over {} channels cannot have {} heads", channels, heads));
    return heads;
  }

  [[noreturn]] void refuse_leftover() {
    fail("holds tensors that no improved- or guided-diffusion network has");
  }

  const Tensors& tensors_;
  const Hints& hints_;
  const fs::path& source_;
  Model model_;
  size_t attentions_ = 0;
};

}  // namespace

bool is_openai(const Tensors& tensors) {
  return find_tensor(tensors, "input_blocks.0.0.weight") &&
         find_tensor(tensors, "time_embed.0.weight");
}

Model openai_unet(const Tensors& tensors, const Hints& hints, const fs::path& source) {
  return Importer(tensors, hints, source).run();
}

}  // namespace ddpm::exchange
