#include "ddpm/eval/evaluator.h"

#include "classifier.h"
#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_text.h"
#include "digest.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace ddpm::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

std::string size_text(const data::ImageShape& s) {
  return fmt::format("{}x{} with {} channels", s.height, s.width, s.channels);
}

// Rank 0 trains the classifier and leaves it in the cache, where the others find it.
std::unique_ptr<FeatureExtractor> trained_features(const data::Dataset& images,
                                                   const std::string& digest, const fs::path& cache,
                                                   const torch::Device& device,
                                                   const dist::World& world) {
  std::unique_ptr<FeatureExtractor> features;
  const auto open = [&] { features = Classifier::of(images, digest, {}, cache, device); };
  world.on_main("train the feature classifier", open);
  if (!world.is_main()) open();
  return features;
}

}  // namespace

ReferenceData reference_at(const fs::path& path) {
  const NpzContent content = npz_content(path);
  if (content == NpzContent::kStatistics) return {nullptr, "unknown", path};
  return {open_images(path), "all",
          content == NpzContent::kStatisticsAndImages ? path : fs::path()};
}

Evaluator::Evaluator(ReferenceData data, const EvaluatorOptions& options, const dist::World& world)
    : data_(std::move(data)),
      world_(world),
      device_(options.device),
      trained_(options.features == "train") {
  const fs::path cache = options.cache.empty() ? default_cache() : options.cache;
  io::make_folder(cache, "choose another with --cache");  // before any work that could be lost
  if (data_.images != nullptr) {
    measure_images(options, cache);
    return;
  }
  if (trained_) {
    throw UsageError(
        "statistics belong to the network that made them: name it with --features FILE");
  }
  features_ = open_features(options.features, device_);
  reference_ = read_statistics(data_.statistics);
}

void Evaluator::measure_images(const EvaluatorOptions& options, const fs::path& cache) {
  const data::Dataset& images = *data_.images;
  if (images.size() < 2)
    throw UsageError("the reference holds one image; a distance needs at least two (--reference)");
  const std::string digest = digest_of_images(images);
  features_ = trained_ ? trained_features(images, digest, cache, device_, world_)
                       : open_features(options.features, device_);
  reference_ = measure_reference(images, digest, *features_, cache, device_, world_);
  if (!data_.statistics.empty() && trained_) {
    spdlog::info("the statistics in {} are of another network and are not used",
                 data_.statistics.string());
  } else if (!data_.statistics.empty()) {
    reference_ = with_statistics(std::move(reference_), read_statistics(data_.statistics));
  }
  spdlog::info("reference: {}{}", reference_.description,
               reference_.cached ? ", statistics from the cache" : "");
}

std::string Evaluator::distance_title() const {
  return trained_ ? "Frechet distance (features of a classifier)" : network().distance_name;
}

void Evaluator::expect_shape(const data::ImageShape& shape) const {
  if (data_.images == nullptr || data_.images->shape() == shape) return;
  throw UsageError(fmt::format(
      "the samples are {}, the reference {}: a comparison would measure the resizing; for a config "
      "set data.image_size and data.channels, else convert the images",
      size_text(shape), size_text(data_.images->shape())));
}

FeatureSet Evaluator::collect(const Samples& samples, const std::string& title,
                              bool frechet_only) const {
  return eval::collect(samples.source, samples.indices, *features_,
                       {.title = title,
                        .classes = samples.classes,
                        .keep_bytes = frechet_only ? 0 : kKeepAll,
                        .device = device_},
                       world_);
}

Metrics Evaluator::measure(const FeatureSet& set, const MetricOptions& options) const {
  Metrics metrics = eval::measure(set, reference_, options);
  metrics.warnings.insert(metrics.warnings.begin(), network().warnings.begin(),
                          network().warnings.end());
  return metrics;
}

torch::Tensor Evaluator::neighbours(const std::vector<torch::Tensor>& images,
                                    int64_t columns) const {
  TORCH_CHECK(data_.images != nullptr, "neighbours need reference images");
  const torch::Tensor batch = torch::stack(images);
  return neighbour_picture(batch, features_->extract(batch).pooled.cpu(), reference_, *data_.images,
                           columns);
}

ordered_json Evaluator::protocol() const {
  const auto number = [](int64_t n) { return n > 0 ? ordered_json(n) : ordered_json("unknown"); };
  return {{"distance", network().distance_name},
          {"reference", reference_.description},
          {"reference_num", number(reference_.gaussian.count)},
          {"reference_images", reference_.features.defined() ? reference_.features.size(0) : 0},
          {"split", data_.split},
          {"features", network().name},
          {"features_sha256", network().hash},
          {"dimensions", reference_.gaussian.mean.size(0)},
          {"resize", network().resize}};
}

std::string protocol_line(const ordered_json& protocol) {
  std::string line = "protocol:";
  for (const auto& [key, value] : protocol.items()) {
    if (key == "distance") continue;  // printed before the number itself
    std::string text = value.is_string() ? value.get<std::string>() : io::json_text(value);
    if (key.ends_with("sha256")) text = text.substr(0, 12);
    line += fmt::format("{} {} {}", line.ends_with(':') ? "" : ";", key, text);
  }
  return line;
}

}  // namespace ddpm::eval
