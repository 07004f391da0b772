#include "ddpm/nn/drawing_network.h"

namespace ddpm::nn {
namespace {

// a, then b; undefined if they are.
torch::Tensor joined(const torch::Tensor& a, const torch::Tensor& b) {
  return a.defined() ? torch::cat({a, b}) : a;
}

// Both in one batch of twice the size.
diffusion::PairDenoiser in_one_batch(const LabelledDenoiser& network, const Given& given,
                                     const Given& null) {
  return [=](const torch::Tensor& x_t, const torch::Tensor& t) {
    const int64_t count = x_t.size(0);
    const Given a = first_of(given, count), b = first_of(null, count);
    const torch::Tensor output =
        network(torch::cat({x_t, x_t}), torch::cat({t, t}),
                {joined(a.labels, b.labels), joined(a.condition, b.condition),
                 joined(a.estimate, b.estimate), joined(a.vectors, b.vectors)});
    return diffusion::OutputPair{output.narrow(0, 0, count), output.narrow(0, count, count)};
  };
}

// What `config` reads of `given`: a guiding network may know neither classes nor the condition.
Given read_by(const UNetConfig& config, const Given& given) {
  return {config.class_conditional ? given.labels : torch::Tensor(),
          config.condition.is_set() ? given.condition : torch::Tensor(), given.estimate,
          config.vector_conditional ? given.vectors : torch::Tensor()};
}

bool remembers(const UNet& unet) { return unet && unet->config().self_condition; }

}  // namespace

DrawingNetwork::DrawingNetwork(UNet unet, const diffusion::Diffusion& diffusion,
                               const Drawing& drawing)
    : unet_(std::move(unet)), diffusion_(diffusion), drawing_(drawing) {
  const auto on_device = torch::dtype(torch::kLong).device(drawing.device);
  const UNetConfig& config = unet_->config();
  TORCH_CHECK(!config.condition.is_set() || drawing.pictures,
              "the condition's pictures are missing");
  if (!drawing.classes.empty()) given_.labels = torch::zeros({drawing.batch}, on_device);
  const auto layout = torch::dtype(storage_type(drawing.precision)).device(drawing.device);
  given_.condition = no_condition(config, drawing.batch, layout);
  given_.vectors = no_vectors(config, drawing.batch, drawing.device);
  if (config.vector_conditional && !drawing_.vectors.defined())
    drawing_.vectors = kept_vectors(config.vectors);
  if (remembers(unet_) || remembers(drawing.guide)) {
    const ImageSpec& image = config.image;
    memory_.emplace(diffusion,
                    torch::IntArrayRef{drawing.batch, image.channels, image.height, image.width},
                    layout);
    given_.estimate = memory_->estimate();
  }
  null_ = without_condition(config, given_);
  if (drawing.guidance.weight == 1.0) return;
  TORCH_CHECK(drawing.guide || can_be_guided(config),
              "guidance needs a null class, a null condition or a second network");
  guided_ = std::make_shared<diffusion::GuidedDenoiser>(drawing.guidance, diffusion, sources());
}

void DrawingNetwork::set_batch_(const std::vector<int64_t>& images) {
  if (guided_) guided_->reset_();
  if (memory_) memory_->reset_();
  const Given rows = first_of(given_, static_cast<int64_t>(images.size()));
  if (rows.labels.defined())
    rows.labels.copy_(labels_in_turn(images, drawing_.classes, torch::kCPU));
  if (rows.vectors.defined()) rows.vectors.copy_(vectors_in_turn(images, drawing_.vectors));
  torch::Tensor condition = rows.condition;
  if (!condition.defined()) return;
  condition.copy_(diffusion::condition_input(drawing_.pictures(images).to(drawing_.device),
                                             condition.size(2), condition.size(3),
                                             condition.scalar_type()));
}

LabelledDenoiser DrawingNetwork::labelled(const UNet& unet) const {
  return make_labelled_denoiser(unet, diffusion_, drawing_.precision, drawing_.gradients);
}

diffusion::GuidedDenoiser::Sources DrawingNetwork::sources() const {
  const LabelledDenoiser network = labelled(unet_);
  const diffusion::Denoiser main = with_labels(network, given_);
  if (drawing_.guide)
    return diffusion::sources_of(
        main, with_labels(labelled(drawing_.guide), read_by(drawing_.guide->config(), given_)));
  return {main, with_labels(network, null_), in_one_batch(network, given_, null_)};
}

diffusion::Denoiser DrawingNetwork::denoiser() const {
  return memory_ ? memory_->remembering(guided_denoiser()) : guided_denoiser();
}

diffusion::Denoiser DrawingNetwork::guided_denoiser() const {
  if (!guided_) return with_labels(labelled(unet_), given_);
  return [guided = guided_](const torch::Tensor& x_t, const torch::Tensor& t) {
    return (*guided)(x_t, t);
  };
}

}  // namespace ddpm::nn
