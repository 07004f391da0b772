#include "ddpm/nn/drawing_network.h"

namespace ddpm::nn {
namespace {

// The first `count` labels; undefined if there are none.
torch::Tensor first_of(const torch::Tensor& labels, int64_t count) {
  return labels.defined() ? labels.narrow(0, 0, count) : labels;
}

// Both classes in one batch of twice the size.
diffusion::PairDenoiser in_one_batch(const LabelledDenoiser& network, const torch::Tensor& labels,
                                     const torch::Tensor& null) {
  return [=](const torch::Tensor& x_t, const torch::Tensor& t) {
    const int64_t count = x_t.size(0);
    const torch::Tensor output =
        network(torch::cat({x_t, x_t}), torch::cat({t, t}),
                torch::cat({first_of(labels, count), first_of(null, count)}));
    return diffusion::OutputPair{output.narrow(0, 0, count), output.narrow(0, count, count)};
  };
}

}  // namespace

DrawingNetwork::DrawingNetwork(UNet unet, const diffusion::Diffusion& diffusion,
                               const Drawing& drawing)
    : unet_(std::move(unet)), diffusion_(diffusion), drawing_(drawing) {
  const auto on_device = torch::dtype(torch::kLong).device(drawing.device);
  const UNetConfig& config = unet_->config();
  if (!drawing.classes.empty()) labels_ = torch::zeros({drawing.batch}, on_device);
  if (config.class_conditional && config.null_class)
    null_ = torch::full({drawing.batch}, config.image.classes, on_device);
  if (drawing.guidance.weight == 1.0) return;
  TORCH_CHECK(drawing.guide || null_.defined(), "guidance needs a null class or a second network");
  guided_ = std::make_shared<diffusion::GuidedDenoiser>(drawing.guidance, diffusion, sources());
}

void DrawingNetwork::set_batch_(const std::vector<int64_t>& images) {
  if (guided_) guided_->reset_();
  if (!labels_.defined()) return;
  const auto count = static_cast<int64_t>(images.size());
  labels_.narrow(0, 0, count).copy_(labels_in_turn(images, drawing_.classes, torch::kCPU));
}

LabelledDenoiser DrawingNetwork::labelled(const UNet& unet) const {
  return make_labelled_denoiser(unet, diffusion_, drawing_.precision, drawing_.gradients);
}

diffusion::GuidedDenoiser::Sources DrawingNetwork::sources() const {
  const LabelledDenoiser network = labelled(unet_);
  const diffusion::Denoiser main = with_labels(network, labels_);
  if (drawing_.guide) {
    const bool conditional = drawing_.guide->config().class_conditional;
    return diffusion::sources_of(
        main, with_labels(labelled(drawing_.guide), conditional ? labels_ : torch::Tensor()));
  }
  return {main, with_labels(network, null_), in_one_batch(network, labels_, null_)};
}

diffusion::Denoiser DrawingNetwork::denoiser() const {
  if (!guided_) return with_labels(labelled(unet_), labels_);
  return [guided = guided_](const torch::Tensor& x_t, const torch::Tensor& t) {
    return (*guided)(x_t, t);
  };
}

}  // namespace ddpm::nn
