#include "ddpm/base/error.h"
#include "ddpm/data/factory.h"
#include "ddpm/data/loader.h"
#include "ddpm/diffusion/condition.h"
#include "ddpm/diffusion/image_range.h"
#include "ddpm/pipeline/inputs.h"

#include <filesystem>

#include <fmt/format.h>

namespace ddpm::pipeline {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> files_at(const std::string& path, const nn::UNetConfig& network) {
  if (!fs::exists(path))
    throw IoError(path, fmt::format("does not exist; --condition names {}, or a folder of them",
                                    describe_condition(network)));
  if (!fs::is_directory(path)) return {path};
  std::vector<std::string> files;
  for (const fs::path& file : data::image_files_in(path)) files.push_back(file.string());
  if (files.empty())
    throw IoError(path, fmt::format("holds no pictures; --condition names {}, or a folder of them",
                                    describe_condition(network)));
  return files;
}

}  // namespace

nn::ImageSpec condition_spec(const nn::UNetConfig& network) {
  const nn::ImageSpec& image = network.image;
  const auto [channels, height, width] =
      diffusion::condition_shape(network.condition, image.channels, image.height, image.width);
  return {channels, height, width, 0};
}

std::string describe_condition(const nn::UNetConfig& network) {
  const nn::ImageSpec spec = condition_spec(network);
  const std::string size = fmt::format("{}x{}", spec.height, spec.width);
  if (network.condition.kind == diffusion::ConditionKind::kGrey)
    return fmt::format("a grey picture of {} pixels", size);
  return fmt::format("a picture of {} pixels, {} times smaller than the images", size,
                     network.condition.factor);
}

torch::Tensor originals_in_turn(const data::Dataset& dataset, const std::vector<int64_t>& indices,
                                const std::vector<int64_t>& images) {
  std::vector<int64_t> chosen;
  for (const int64_t i : images) chosen.push_back(indices[static_cast<size_t>(i) % indices.size()]);
  return data::read_batch(dataset, chosen).images;
}

ConditionPictures condition_pictures(const std::string& path, const nn::UNetConfig& network) {
  return condition_pictures(
      read_inputs(files_at(path, network), condition_spec(network), "this network's conditions"),
      path);
}

ConditionPictures condition_pictures(const torch::Tensor& pictures, const std::string& source) {
  const auto of = [pictures](const std::vector<int64_t>& images) {
    return pictures.index_select(0, torch::tensor(images).remainder(pictures.size(0)));
  };
  return {of, source, checksum_of(pictures)};
}

ConditionPictures condition_pictures(std::shared_ptr<const data::Dataset> dataset,
                                     std::vector<int64_t> indices, const nn::UNetConfig& network,
                                     const std::string& source) {
  const nn::ImageSpec& image = network.image;
  if (dataset->shape() != data::ImageShape{image.channels, image.height, image.width})
    throw UsageError(fmt::format(
        "the conditions come from {}, whose images and the network's differ in shape", source));
  const auto of = [=, condition = network.condition](const std::vector<int64_t>& images) {
    const torch::Tensor x0 =
        diffusion::to_model_range(originals_in_turn(*dataset, indices, images), torch::kFloat);
    return diffusion::condition_picture(condition, x0);
  };
  return {of, source, 0};
}

}  // namespace ddpm::pipeline
