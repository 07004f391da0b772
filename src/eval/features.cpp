#include "ddpm/eval/features.h"

#include "ddpm/base/error.h"
#include "ddpm/io/archive.h"
#include "ddpm/io/image.h"
#include "ddpm/nn/precision.h"
#include "inception.h"
#include "script_features.h"

#include <algorithm>

#include <fmt/format.h>
#include <torch/utils.h>

namespace ddpm::eval {
namespace {

namespace fs = std::filesystem;

// TorchScript and torch.save both make zip archives; only the former holds code.
bool holds_code(const fs::path& file) {
  try {
    const io::ZipReader zip(file);
    const auto& names = zip.names();
    return std::any_of(names.begin(), names.end(), [](const std::string& name) {
      return name.find("/code/") != std::string::npos || name.ends_with("constants.pkl");
    });
  } catch (const IoError&) {
    return false;
  }
}

}  // namespace

Features FeatureExtractor::extract(const torch::Tensor& images) const {
  const torch::NoGradGuard no_grad;
  const nn::ArithmeticGuard arithmetic(nn::Precision::kFp32, /*deterministic=*/true);
  return compute(images);
}

torch::Tensor to_rgb(const torch::Tensor& images) {
  const int64_t channels = images.size(1);
  if (channels > io::kMaxImageChannels)
    throw UsageError(
        fmt::format("this feature network sees colours (1 to 4 channels), and the images have {} "
                    "channels; use --features train",
                    channels));
  if (channels <= 2) return images.narrow(1, 0, 1).expand({-1, 3, -1, -1}).contiguous();
  return images.narrow(1, 0, 3).contiguous();
}

std::unique_ptr<FeatureExtractor> open_features(const fs::path& file, const torch::Device& device) {
  if (!fs::exists(file))
    throw IoError(file, "does not exist; name a feature network, or \"train\"");
  if (file.extension() != ".safetensors" && holds_code(file))
    return open_script_features(file, device);
  return open_inception(file, device);
}

}  // namespace ddpm::eval
