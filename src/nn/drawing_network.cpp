#include "ddpm/nn/drawing_network.h"

#include "ddpm/nn/model_file.h"

namespace ddpm::nn {

DrawingNetwork::DrawingNetwork(UNet unet, Precision precision, std::vector<int64_t> classes,
                               int64_t batch, const torch::Device& device)
    : unet_(std::move(unet)), precision_(precision), classes_(std::move(classes)) {
  if (!classes_.empty()) labels_ = torch::zeros({batch}, torch::dtype(torch::kLong).device(device));
}

void DrawingNetwork::set_batch_(const std::vector<int64_t>& images) {
  if (!labels_.defined()) return;
  const auto count = static_cast<int64_t>(images.size());
  labels_.narrow(0, 0, count).copy_(labels_in_turn(images, classes_, torch::kCPU));
}

diffusion::Denoiser DrawingNetwork::denoiser() const {
  const torch::Tensor labels = labels_;
  return make_denoiser(unet_, precision_, [labels](int64_t count) {
    return labels.defined() ? labels.narrow(0, 0, count) : labels;
  });
}

}  // namespace ddpm::nn
