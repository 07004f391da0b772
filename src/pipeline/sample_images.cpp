#include "ddpm/pipeline/sample_images.h"

#include "ddpm/diffusion/image_range.h"
#include "ddpm/nn/drawing_network.h"
#include "ddpm/nn/script_module.h"
#include "ddpm/sample/bespoke_fit.h"
#include "ddpm/sample/latent.h"
#include "ddpm/sample/methods.h"

#include <memory>
#include <vector>

#include <fmt/format.h>

namespace ddpm::pipeline {
namespace {

// The likely reason why an image is not finite, and the remedy.
std::string cause_of_not_finite(const SamplePlan& plan, const nn::UNet& unet) {
  for (const auto& item : unet->named_parameters()) {
    if (item.value().isfinite().all().item<bool>()) continue;
    return fmt::format(
        "tensor {} of {} holds NaN or infinity; use an earlier checkpoint (--ckpt), or other "
        "weights of it (--weights)",
        item.key(), plan.network->weights_file.string());
  }
  return fmt::format("the network's numbers overflowed; {}",
                     plan.condition.differentiates             ? "use a smaller --scale"
                     : plan.config.clip == sample::Clip::kNone ? "use --clip rederive"
                     : plan.precision == nn::Precision::kBf16
                         ? "use --precision fp32"
                         : "use an earlier checkpoint (--ckpt)");
}

// The config's sampler of these images, with the plan's condition.
std::unique_ptr<sample::Sampler> sampler_of(const SamplePlan& plan,
                                            const diffusion::Schedule& schedule,
                                            const std::vector<int64_t>& images) {
  auto sampler = sample::make_sampler(plan.config, schedule);
  if (!plan.condition.around) return sampler;
  return plan.condition.around(std::move(sampler), torch::tensor(images).to(plan.generate.device));
}

// The network of --guide on the plan's device, or null.
std::unique_ptr<nn::ScriptGuide> load_script_guide(const SamplePlan& plan) {
  if (plan.script_guide.empty() || plan.guide_scale == 0.0) return nullptr;
  const nn::ImageSpec& image = plan.network->description.unet.image;
  return std::make_unique<nn::ScriptGuide>(
      plan.script_guide, plan.generate.device,
      std::vector<int64_t>{image.channels, image.height, image.width});
}

nn::UNet loaded(const SamplePlan& plan, const exchange::Model& model) {
  return exchange::make_unet(model, plan.generate.device, plan.precision);
}

// The classes in turn that the network itself reads.
std::vector<int64_t> network_classes(const SamplePlan& plan) {
  return plan.network->description.unet.class_conditional ? plan.classes : std::vector<int64_t>();
}

// The denoiser of a plan's network, which it keeps, and the options that set each batch's images.
struct Drawn {
  nn::DrawingNetwork network;
  std::unique_ptr<nn::ScriptGuide> script;
  diffusion::Denoiser denoiser;
};

// `gradients`: see nn::Drawing.
Drawn drawn_by(const SamplePlan& plan, const nn::UNet& unet, const diffusion::Diffusion& diffusion,
               int64_t batch, nn::Gradients gradients) {
  Drawn drawn{nn::DrawingNetwork(unet, diffusion,
                                 {.classes = network_classes(plan),
                                  .pictures = plan.pictures.of,
                                  .vectors = plan.vectors.rows,
                                  .batch = batch,
                                  .device = plan.generate.device,
                                  .precision = plan.precision,
                                  .guidance = plan.config.guidance,
                                  .guide = plan.guide ? loaded(plan, *plan.guide) : nullptr,
                                  .gradients = gradients}),
              load_script_guide(plan),
              {}};
  drawn.denoiser = drawn.network.denoiser();
  if (drawn.script)
    drawn.denoiser =
        diffusion::score_guided(drawn.denoiser, diffusion, drawn.script->score(), plan.guide_scale);
  return drawn;
}

void begin_batch_(Drawn& drawn, const SamplePlan& plan, const std::vector<int64_t>& images) {
  drawn.network.set_batch_(images);
  if (drawn.script && drawn.script->classes() > 0)
    drawn.script->set_batch_(nn::labels_in_turn(images, plan.classes, plan.generate.device));
}

// Network calls of all batches.
int64_t calls_in_all(const SamplePlan& plan, int64_t images, int64_t batch) {
  const diffusion::Schedule schedule(plan.network->description.diffusion.schedule);
  return (images + batch - 1) / batch * std::ssize(sample::timestep_plan(schedule, plan.config));
}

}  // namespace

nn::UNet load_unet(const SamplePlan& plan) { return loaded(plan, *plan.network); }

sample::GenerateResult sample_images(const SamplePlan& plan, const nn::UNet& unet,
                                     const sample::GenerateOptions& options,
                                     const sample::Sink& sink) {
  const diffusion::Diffusion diffusion(plan.network->description.diffusion);
  const nn::ArithmeticGuard arithmetic(
      plan.precision, plan.deterministic,
      calls_in_all(plan, std::ssize(options.images), options.batch));
  Drawn drawn =
      drawn_by(plan, unet, diffusion, options.batch,
               plan.condition.differentiates ? nn::Gradients::kOfInput : nn::Gradients::kNone);
  sample::GenerateOptions generate = options;
  // Autograd records as well, and cannot be captured.
  if (plan.condition.differentiates || drawn.script) generate.cuda_graph = false;
  std::vector<int64_t> batch;
  generate.before_batch = [&](const std::vector<int64_t>& images) {
    begin_batch_(drawn, plan, images);
    batch = images;
  };
  try {
    const sample::ReverseProcess process(
        diffusion, plan.config, [&] { return sampler_of(plan, diffusion.schedule(), batch); });
    return sample::generate(drawn.denoiser, process, generate, sink);
  } catch (const sample::NotFinite& error) {
    throw Error(fmt::format("{}: {}", error.what(), cause_of_not_finite(plan, unet)));
  }
}

torch::Tensor pixels_of(const SamplePlan& plan, const torch::Tensor& batch) {
  const torch::Tensor host = batch.cpu();
  return plan.depth == 8 ? diffusion::to_uint8(host) : diffusion::to_16_bit(host);
}

std::vector<sample::BespokeStep> fit_to(const SamplePlan& plan, const nn::UNet& unet,
                                        const sample::GenerateOptions& options) {
  const diffusion::Diffusion diffusion(plan.network->description.diffusion);
  const sample::FitCost cost = sample::cost_of_fit(plan.config, diffusion.schedule(), options);
  const nn::ArithmeticGuard arithmetic(plan.precision, plan.deterministic, cost.calls);
  Drawn drawn = drawn_by(plan, unet, diffusion, cost.images, nn::Gradients::kNone);
  sample::GenerateOptions generate = options;
  if (drawn.script) generate.cuda_graph = false;
  generate.before_batch = [&](const std::vector<int64_t>& images) {
    begin_batch_(drawn, plan, images);
  };
  try {
    return sample::fit_bespoke(drawn.denoiser, diffusion, plan.config, generate);
  } catch (const sample::NotFinite& error) {
    throw Error(fmt::format("{}: {}", error.what(), cause_of_not_finite(plan, unet)));
  }
}

torch::Tensor encoded(const SamplePlan& plan, const nn::UNet& unet, const torch::Tensor& pixels) {
  const diffusion::Diffusion diffusion(plan.network->description.diffusion);
  Drawn drawn = drawn_by(plan, unet, diffusion, plan.config.num, nn::Gradients::kNone);
  begin_batch_(drawn, plan, plan.generate.images);
  return sample::encode(
      drawn.denoiser, diffusion, plan.config,
      diffusion::to_model_range(pixels, plan.generate.dtype).to(plan.generate.device));
}

torch::Tensor decoded(const SamplePlan& plan, const nn::UNet& unet, const torch::Tensor& x_T) {
  sample::GenerateOptions generate = plan.generate;
  generate.initial_noise = x_T;
  generate.batch = plan.config.num;
  torch::Tensor pixels;
  sample_images(plan, unet, generate, [&](int64_t, const torch::Tensor& images) {
    pixels = diffusion::to_uint8(images.cpu());
  });
  return pixels;
}

}  // namespace ddpm::pipeline
