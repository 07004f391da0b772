#include "ddpm/data/dataset.h"

#include "fingerprint.h"

#include <fmt/format.h>

namespace ddpm::data {
namespace {

// Without commas: a part of fingerprints, which must not change.
std::string counted(int64_t count, const std::string& one, const std::string& many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

}  // namespace

SizeRange Dataset::source_sizes() const {
  return {shape().height, shape().height, shape().width, shape().width};
}

std::string Dataset::fingerprint() const {
  return Fingerprint().add(describe_contents()).add(class_names()).hex();
}

std::string Dataset::describe_contents() const {
  const ImageShape s = shape();
  return fmt::format("{} of {}x{} (height x width), {}{}, {}", counted(size(), "image", "images"),
                     s.height, s.width, counted(s.channels, "channel", "channels"),
                     pixel_type() == torch::kByte ? "" : " of more than 8 bits",
                     class_count() == 0 ? "no labels" : counted(class_count(), "class", "classes"));
}

std::vector<std::string> numbered_classes(int64_t count) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < count; ++i) names.push_back(std::to_string(i));
  return names;
}

}  // namespace ddpm::data
