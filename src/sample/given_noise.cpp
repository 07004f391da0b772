#include "ddpm/base/error.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/sample/generate.h"

#include <string>

#include <fmt/format.h>

namespace ddpm::sample {
namespace {

namespace fs = std::filesystem;

// axis: that of the images.
void expect_finite(const fs::path& path, const std::string& name, const torch::Tensor& noise,
                   int64_t axis) {
  const torch::Tensor bad = noise.to(torch::kDouble).isfinite().logical_not();
  if (!bad.any().item<bool>()) return;
  const torch::Tensor of_image = bad.movedim(axis, 0).flatten(1).any(1);
  const int64_t first = of_image.to(torch::kLong).argmax().item<int64_t>();
  throw IoError(path, fmt::format("holds NaN or infinity in {} of image {}", name, first));
}

}  // namespace

void read_noise_(const fs::path& path, GenerateOptions& options) {
  const auto file = io::SafetensorsFile::open(path);
  if (!file.contains("x_T"))
    throw IoError(path, "holds no tensor x_T [N,C,H,W] (and, if wanted, z [S,N,C,H,W])");
  options.initial_noise = file.get("x_T");
  if (options.initial_noise.dim() != 4 || options.initial_noise.size(0) == 0)
    throw IoError(path, "has an x_T that is not [N,C,H,W] with N of at least 1");
  expect_finite(path, "x_T", options.initial_noise, 0);
  if (!file.contains("z")) return;
  options.step_noise = file.get("z");
  if (options.step_noise.dim() == 5) expect_finite(path, "z", options.step_noise, 1);
}

}  // namespace ddpm::sample
