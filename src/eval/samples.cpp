#include "ddpm/base/error.h"
#include "ddpm/eval/images.h"
#include "ddpm/eval/jackknife.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_text.h"

#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace ddpm::eval {
namespace {

namespace fs = std::filesystem;

// The sampling.json of `ddpm sample`; an empty object if there is none.
nlohmann::ordered_json record_of(const fs::path& folder) {
  const fs::path file = folder / "sampling.json";
  if (!fs::is_regular_file(file)) return nlohmann::ordered_json::object();
  auto json = io::json_or_discarded(io::read_text(file));
  return json.is_object() ? json : nlohmann::ordered_json::object();
}

// How many classes `ddpm sample` sampled in turn; 0 if that is unknown.
int64_t number_of_classes(const fs::path& folder, int64_t images) {
  if (!fs::exists(folder / fmt::format("{:06}.png", images - 1))) return 0;
  const nlohmann::ordered_json json = record_of(folder);
  const nlohmann::ordered_json::json_pointer classes("/settings/classes");
  return json.contains(classes) && json[classes].is_array() ? std::ssize(json[classes]) : 0;
}

void warn_if_interrupted(const fs::path& folder, int64_t images) {
  const nlohmann::ordered_json json = record_of(folder);
  if (!json.contains("images") || !json["images"].is_number_integer()) return;
  const int64_t asked = json["images"].get<int64_t>();
  if (asked > images)
    spdlog::warn(
        "{}: holds {} of {} images: the sampling was interrupted; ddpm sample --continue samples "
        "the "
        "rest",
        folder.string(), images, asked);
}

std::vector<int64_t> labels_of(const data::Dataset& dataset, const std::vector<int64_t>& indices) {
  std::vector<int64_t> classes;
  visit_examples(dataset, indices, 64,
                 [&](int64_t, const torch::Tensor&, const torch::Tensor& labels) {
                   const auto* label = labels.const_data_ptr<int64_t>();
                   classes.insert(classes.end(), label, label + labels.size(0));
                 });
  return classes;
}

}  // namespace

Samples samples_at(const fs::path& path, std::optional<int64_t> wanted) {
  const std::shared_ptr<const data::Dataset> files = open_images(path);
  const int64_t num = wanted.value_or(files->size());
  if (num > files->size()) {
    throw UsageError(
        fmt::format("--num {}: {} holds only {} images", num, path.string(), files->size()));
  }
  warn_if_interrupted(path, files->size());
  Samples s;
  s.source = [files](const std::vector<int64_t>& images, const ImageSink& sink) {
    images_of (*files)(images, sink);
  };
  s.indices = representative_indices(files->size(), num);
  s.classes = files->class_count() > 0
                  ? labels_of(*files, s.indices)
                  : classes_in_turn(s.indices, number_of_classes(path, files->size()));
  s.shape = files->shape();
  return s;
}

std::vector<int64_t> classes_in_turn(const std::vector<int64_t>& images, int64_t period) {
  std::vector<int64_t> classes;
  if (period < 2) return classes;
  for (const int64_t image : images) classes.push_back(image % period);
  return classes;
}

}  // namespace ddpm::eval
