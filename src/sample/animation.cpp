#include "ddpm/io/image.h"
#include "ddpm/io/png.h"
#include "ddpm/sample/trajectory.h"

#include <algorithm>
#include <cmath>

#include <torch/types.h>

namespace ddpm::sample {
namespace {

constexpr int64_t kSide = 800, kImages = 64;  // larger grids make large files
constexpr double kFrameSeconds = 0.1, kFinishedSeconds = 2.0, kTurnSeconds = 0.6;

// Images of `size` pixels side by side.
int64_t that_fit(int64_t size) { return std::max<int64_t>(kSide / (size + 2), 1); }

}  // namespace

AnimatedGrid animated_grid(int64_t images, int64_t height, int64_t width, int64_t columns) {
  const int64_t across = that_fit(width), down = that_fit(height);
  images = std::min({images, kImages, across * down});
  if (columns == 0)
    columns = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(images))));
  columns = std::min(columns, across);
  return {std::min(images, columns * down), columns};
}

std::vector<uint8_t> denoising_animation(const Trajectory& trajectory,
                                         const torch::Tensor& finished, int64_t columns) {
  torch::Tensor frames = trajectory.frames(columns);
  frames[-1].copy_(finished);
  std::vector<double> seconds(static_cast<size_t>(frames.size(0)), kFrameSeconds);
  seconds.back() = kFinishedSeconds;
  return io::encode_apng(frames, seconds, finished);
}

std::vector<uint8_t> back_and_forth(const torch::Tensor& images) {
  TORCH_CHECK(images.size(0) >= 2, "a way has two images or more");
  std::vector<torch::Tensor> frames;
  for (const torch::Tensor& image : images.unbind()) frames.push_back(io::enlarged(image));
  const size_t turn = frames.size() - 1;
  for (size_t i = turn - 1; i > 0; --i) frames.push_back(frames[i]);
  std::vector<double> seconds(frames.size(), kFrameSeconds);
  seconds[0] = seconds[turn] = kTurnSeconds;
  return io::encode_apng(torch::stack(frames), seconds);
}

}  // namespace ddpm::sample
