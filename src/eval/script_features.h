#pragma once

#include "ddpm/eval/features.h"

#include <filesystem>
#include <memory>

namespace ddpm::eval {

/// A network saved by torch.jit.save. Its forward() takes uint8 RGB images [B,3,H,W] in 0..255 at
/// their own size, and scales them itself. It returns features [B,D] (or [B,D,H,W], which are then
/// averaged), or a tuple (features, logits, spatial), or a dict with these names; the last two are
/// optional. The well-known inception-2015-12-05.pt works unchanged: if forward() has an argument
/// `return_features`, it is set, and logits are features times its `output.weight` (no bias).
/// Throws IoError if the file is no such network.
std::unique_ptr<FeatureExtractor> open_script_features(const std::filesystem::path& file,
                                                       const torch::Device& device);

}  // namespace ddpm::eval
