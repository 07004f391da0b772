#include "ddpm/nn/unet.h"

#include <cstdint>
#include <string>

namespace ddpm::nn {
namespace {

// The number after `prefix` in "down_blocks.2.resnets.0...".
int64_t number_after_(const std::string& name, const std::string& prefix) {
  return std::stoll(name.substr(prefix.size()));
}

// How many times the image is halved where this parameter works; -1 if it has no place in the image.
int64_t level_of(const std::string& name, int64_t levels) {
  const auto within = [&](const char* part) { return name.find(part) != std::string::npos; };
  if (name.starts_with("down_blocks."))
    return number_after_(name, "down_blocks.") + (within(".downsamplers.") ? 1 : 0);
  if (name.starts_with("up_blocks."))
    return levels - 1 - number_after_(name, "up_blocks.") - (within(".upsamplers.") ? 1 : 0);
  if (name.starts_with("mid_block.")) return levels - 1;
  return name.starts_with("conv_") ? 0 : -1;
}

// Outputs of a layer per image: pixels, or one for what has no place in the image.
double places_of(const std::string& name, const UNetConfig& config) {
  const auto levels = static_cast<int64_t>(config.channel_multipliers.size());
  const int64_t level = level_of(name, levels);
  if (level < 0 || name.find("time_emb_proj") != std::string::npos) return 1.0;
  return static_cast<double>((config.image.height >> level) * (config.image.width >> level));
}

}  // namespace

double forward_flops(const UNetImpl& unet) {
  double flops = 0.0;
  for (const auto& item : unet.named_parameters()) {
    const std::string& name = item.key();
    const torch::Tensor& weight = item.value();
    if (weight.dim() < 2 || name.starts_with("class_embedding.")) continue;
    const double places = places_of(name, unet.config());
    flops += 2.0 * static_cast<double>(weight.numel()) * places;
    // Attention itself: Q K^T and the weighted sum of V, over all heads.
    if (name.ends_with(".to_q.weight"))
      flops += 4.0 * places * places * static_cast<double>(weight.size(0));
  }
  return flops;
}

}  // namespace ddpm::nn
