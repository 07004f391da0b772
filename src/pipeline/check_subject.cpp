#include "ddpm/diffusion/condition.h"
#include "ddpm/io/file.h"
#include "ddpm/nn/drawing_network.h"
#include "ddpm/pipeline/fit_file.h"
#include "ddpm/pipeline/sample_images.h"

#include <memory>

#include <fmt/format.h>

namespace ddpm::pipeline {
namespace {

// The classes of the plan's images moved on by `shift`, of a network with classes, and their
// conditions, of one with a condition.
nn::Given given_of(const SamplePlan& plan, int64_t shift) {
  std::vector<int64_t> classes = plan.classes;
  for (int64_t& c : classes) c = (c + shift) % plan.network->description.unet.image.classes;
  const sample::GenerateOptions& g = plan.generate;
  nn::Given given = nn::labels_in_turn(g.images, classes, g.device);
  if (plan.pictures.of)
    given.condition = diffusion::condition_input(plan.pictures.of(g.images).to(g.device), g.height,
                                                 g.width, g.dtype);
  given.vectors = nn::vectors_in_turn(g.images, plan.vectors.rows);
  if (given.vectors.defined()) given.vectors = given.vectors.to(g.device);
  return given;
}

diffusion::Diffusion diffusion_of(const SamplePlan& plan) {
  return diffusion::Diffusion(plan.network->description.diffusion);
}

// The same weights in another arithmetic. Loads them at each call: it is called once.
diffusion::Denoiser in_precision(const SamplePlan& plan, nn::Precision precision) {
  return [&plan, precision](const torch::Tensor& x_t, const torch::Tensor& t) {
    const nn::UNet unet = exchange::make_unet(*plan.network, plan.generate.device, precision);
    return nn::make_denoiser(unet, diffusion_of(plan), precision, given_of(plan, 0))(x_t, t);
  };
}

// A guided network for the plan's images, as ddpm sample makes it.
diffusion::Denoiser guided_network(const SamplePlan& plan, const nn::UNet& unet,
                                   const diffusion::Guidance& guidance) {
  const auto network =
      std::make_shared<nn::DrawingNetwork>(unet, diffusion_of(plan),
                                           nn::Drawing{.classes = plan.classes,
                                                       .pictures = plan.pictures.of,
                                                       .vectors = plan.vectors.rows,
                                                       .batch = plan.config.num,
                                                       .device = plan.generate.device,
                                                       .precision = plan.precision,
                                                       .guidance = guidance});
  return [network, &plan, denoiser = network->denoiser()](const torch::Tensor& x_t,
                                                          const torch::Tensor& t) {
    network->set_batch_(plan.generate.images);  // each call is the first of a chain
    return denoiser(x_t, t);
  };
}

void add_classes_(eval::CheckSubject& subject, const SamplePlan& plan, const nn::UNet& unet,
                  const nn::LabelledDenoiser& network) {
  const nn::UNetConfig& config = unet->config();
  if (config.class_conditional && config.image.classes > 1)
    subject.other_class = nn::with_labels(network, given_of(plan, 1));
  if (!config.null_class) return;
  subject.null_class = nn::with_labels(network, nn::without_condition(config, given_of(plan, 0)));
  subject.guided = [&plan, unet](const diffusion::Guidance& guidance) {
    return guided_network(plan, unet, guidance);
  };
}

void add_variance_(eval::CheckSubject& subject, const SamplePlan& plan) {
  const std::filesystem::path file = estimates_file(plan);
  subject.no_variance =
      fmt::format("not measured; ddpm estimate --ckpt {} does it", plan.network->path.string());
  if (std::filesystem::exists(file))
    subject.variance =
        eval::parse_posterior_variance(io::read_text(file), plan.weights_crc32c, file.string());
}

}  // namespace

eval::CheckSubject check_subject(const SamplePlan& plan) {
  const nn::UNet unet = load_unet(plan);
  const nn::LabelledDenoiser network =
      nn::make_labelled_denoiser(unet, diffusion_of(plan), plan.precision);
  sample::GenerateOptions noise = plan.generate;
  noise.dtype = torch::kDouble;
  eval::CheckSubject subject{.diffusion = diffusion_of(plan),
                             .network = nn::with_labels(network, given_of(plan, 0)),
                             .precision = plan.precision,
                             .x_T = sample::initial_noise(noise)};
  add_classes_(subject, plan, unet, network);
  subject.in_float64 = in_precision(plan, nn::Precision::kFp64);
  if (plan.precision != nn::Precision::kBf16)
    subject.in_bfloat16 = in_precision(plan, nn::Precision::kBf16);
  add_variance_(subject, plan);
  return subject;
}

}  // namespace ddpm::pipeline
