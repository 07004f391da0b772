#include "ddpm/base/error.h"
#include "ddpm/diffusion/condition.h"
#include "ddpm/io/json_text.h"
#include "ddpm/pipeline/inputs.h"
#include "ddpm/pipeline/tasks.h"
#include "ddpm/sample/restore.h"
#include "inputs_in_turn.h"

#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace ddpm::pipeline {
namespace {

// What the images went through.
struct Operator {
  std::string name;  // "blur-2", for the folder and sampling.json
  diffusion::Degradation degrade;
  nn::ImageSpec degraded;  // size and channels of the given images
  std::string wanted = "the network's images";
  uint32_t mask_crc32c = 0;
};

Operator downsampling_operator(int64_t factor, const nn::ImageSpec& spec) {
  if (spec.height % factor != 0 || spec.width % factor != 0)
    throw UsageError(fmt::format("--downsample {}: must divide the network's {}x{} images", factor,
                                 spec.height, spec.width));
  Operator degradation{fmt::format("downsample-{}", factor), diffusion::downsampling(factor), spec};
  degradation.degraded.height /= factor;
  degradation.degraded.width /= factor;
  degradation.wanted = fmt::format("images {} times smaller than the network's", factor);
  return degradation;
}

Operator grey_operator(const nn::ImageSpec& spec) {
  if (spec.channels != 3)
    throw UsageError("--grey needs a network of colour images; this one makes grey ones");
  Operator degradation{"grey", diffusion::grey(), spec};
  degradation.degraded.channels = 1;
  degradation.wanted = "the images of --grey";
  return degradation;
}

Operator operator_of(const RestoreInputs& o, const SamplePlan& plan) {
  const nn::ImageSpec& spec = plan.network->description.unet.image;
  const auto layout = torch::dtype(plan.generate.dtype).device(plan.generate.device);
  if (o.blur)
    return {fmt::format("blur-{}", *o.blur),
            diffusion::gaussian_blur(*o.blur, spec.height, spec.width, layout), spec};
  if (o.downsample) return downsampling_operator(*o.downsample, spec);
  if (o.grey) return grey_operator(spec);
  const torch::Tensor mask = read_mask(o.mask, spec);
  Operator degradation{"mask", diffusion::missing_pixels(mask.to(plan.generate.device)), spec};
  degradation.mask_crc32c = checksum_of(mask);
  return degradation;
}

// The condition on the samples: y = A x_0, for each batch of images.
Condition condition_of(const RestoreInputs& o, const SamplePlan& plan, const Operator& degradation,
                       const torch::Tensor& inputs) {
  torch::Tensor measured = inputs_in_turn(plan, inputs);
  if (!o.mask.empty())
    measured = degradation.degrade(measured);  // missing pixels of the file say nothing
  return {.around =
              [=, degrade = degradation.degrade, scale = o.scale](
                  std::unique_ptr<sample::Sampler> inner, const torch::Tensor& images) {
                return std::make_unique<sample::RestoreSampler>(
                    std::move(inner),
                    sample::Measurement{measured.index_select(0, images), degrade}, scale);
              },
          .differentiates = true};
}

}  // namespace

void expect_one_operator(const RestoreInputs& o) {
  const int count =
      (o.blur ? 1 : 0) + (o.downsample ? 1 : 0) + (o.grey ? 1 : 0) + (o.mask.empty() ? 0 : 1);
  if (count == 1) return;
  throw UsageError(
      fmt::format("{}: say with one of --blur, --downsample, --grey and --mask what "
                  "the images went through",
                  count == 0 ? "nothing to restore" : "more than one operator"));
}

void restore_(SamplePlan& plan, const SampleOptions& options,
              const std::vector<std::string>& images, const RestoreInputs& o) {
  expect_one_operator(o);
  expect_no_memory(plan, "ddpm restore", "use --ddim or --ddpm");
  const Operator degradation = operator_of(o, plan);
  const torch::Tensor inputs = read_inputs(images, degradation.degraded, degradation.wanted);
  plan.condition = condition_of(o, plan, degradation, inputs);
  const uint32_t sum = checksum_of(inputs);
  nlohmann::ordered_json settings{
      {"restore", degradation.name}, {"scale", o.scale}, {"inputs_crc32c", sum}};
  std::string names = fmt::format("{}", fmt::join(images, ", "));
  if (!o.mask.empty()) {
    settings["mask_crc32c"] = degradation.mask_crc32c;
    names += " with " + o.mask;
  }
  set_task_(plan, options,
            fmt::format("restore-{}-scale-{}-{:08x}", degradation.name, o.scale,
                        sum ^ degradation.mask_crc32c),
            io::json_text(settings), names);
}

}  // namespace ddpm::pipeline
