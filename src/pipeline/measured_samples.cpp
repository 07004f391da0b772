#include "ddpm/diffusion/image_range.h"
#include "ddpm/pipeline/sample_images.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace ddpm::pipeline {

eval::Samples samples_of(const SamplePlan& plan) {
  const nn::UNet unet = load_unet(plan);
  const auto source = [plan, unet](const std::vector<int64_t>& images,
                                   const eval::ImageSink& sink) {
    sample::GenerateOptions generate = plan.generate;
    generate.images = images;
    sample_images(plan, unet, generate, [&](int64_t first, const torch::Tensor& batch) {
      sink(first, diffusion::to_uint8(batch.cpu()).contiguous());
    });
  };
  const sample::GenerateOptions& g = plan.generate;
  return {source,
          g.images,
          {g.channels, g.height, g.width},
          eval::classes_in_turn(g.images, std::ssize(plan.classes))};
}

nlohmann::ordered_json samples_json(const SamplePlan& plan, const SampleOptions& options) {
  const bool all =
      plan.classes == sample::image_range(0, plan.network->description.unet.image.classes);
  std::string precision = config::to_string(plan.precision);
  if (plan.deterministic) precision += ", deterministic";
  nlohmann::ordered_json json{
      {"samples", plan.network->path.string()},
      {"weights", plan.weights_name()},
      {"precision", precision},
      {"classes", plan.classes.empty() ? "none"
                  : all                ? fmt::format("all {} in turn", plan.classes.size())
                                       : fmt::format("{} in turn", fmt::join(plan.classes, ","))},
      {"seed", options.seed}};
  if (plan.pictures.of) json["conditions"] = plan.pictures.source;
  if (plan.vectors.rows.defined()) json["vectors"] = plan.vectors.source;
  return json;
}

}  // namespace ddpm::pipeline
