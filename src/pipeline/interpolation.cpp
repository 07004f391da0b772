#include "ddpm/base/error.h"
#include "ddpm/io/json_text.h"
#include "ddpm/pipeline/tasks.h"
#include "ddpm/sample/latent.h"
#include "whole_number.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace ddpm::pipeline {
namespace {

constexpr int64_t kMaxEndSeed = int64_t{1} << 53;  // as --seed
constexpr int64_t kMaxEndImage = int64_t{1} << 40;

std::optional<int64_t> number_of_end(std::string_view text, int64_t most) {
  const auto number = whole_number(text);
  return number && *number <= most ? number : std::nullopt;
}

NoiseEnd noise_end(const std::string& word) {
  const size_t colon = word.find(':');
  const bool has_seed = colon != std::string::npos;
  const auto image =
      number_of_end(std::string_view(word).substr(has_seed ? colon + 1 : 0), kMaxEndImage);
  const auto seed =
      has_seed ? number_of_end(std::string_view(word).substr(0, colon), kMaxEndSeed) : std::nullopt;
  if (!image || has_seed != seed.has_value())
    throw UsageError(
        fmt::format("--between {}: must be the number of an image, as 3, or that of a seed's "
                    "image, as 5:3",
                    word));
  return {seed, *image};
}

// "3", or "5:3".
std::string word_of(const NoiseEnd& end, const std::string& separator) {
  return end.seed ? fmt::format("{}{}{}", *end.seed, separator, end.image)
                  : fmt::format("{}", end.image);
}

// The plan's own seed says nothing.
std::vector<NoiseEnd> shortened(std::vector<NoiseEnd> ends, int64_t seed) {
  for (NoiseEnd& end : ends)
    if (end.seed == seed) end.seed.reset();
  return ends;
}

torch::Tensor noise_of_end(const SamplePlan& plan, const NoiseEnd& end) {
  const torch::Tensor& given = plan.generate.initial_noise;
  if (!given.defined()) {
    sample::GenerateOptions numbered = plan.generate;
    numbered.images = {end.image};
    if (end.seed) numbered.seed = static_cast<uint64_t>(*end.seed);
    return sample::initial_noise(numbered);
  }
  if (end.seed)
    throw UsageError(
        fmt::format("--between {}: a seed cannot be combined with a noise file; name "
                    "a row, as 3",
                    word_of(end, ":")));
  if (end.image >= given.size(0))
    throw UsageError(fmt::format("--between {}: the noise file has images 0 to {}", end.image,
                                 given.size(0) - 1));
  return given.narrow(0, end.image, 1).to(plan.generate.device, plan.generate.dtype);
}

}  // namespace

std::vector<NoiseEnd> noise_ends(const std::vector<std::string>& words) {
  std::vector<NoiseEnd> ends;
  for (const std::string& word : words) ends.push_back(noise_end(word));
  if (ends.size() < 2) throw UsageError("--between needs two images or more, as in 3,17");
  return ends;
}

int64_t images_of_way(size_t ends, int64_t frames) {
  return (static_cast<int64_t>(ends) - 1) * (frames - 1) + 1;
}

void interpolate_(SamplePlan& plan, const SampleOptions& options, const std::vector<NoiseEnd>& ends,
                  int64_t frames) {
  expect_one_class(plan, "interpolated images");
  plan.config.num = images_of_way(ends.size(), frames);
  plan.generate.images = sample::image_range(0, plan.config.num);
  plan.in_order = true;
  plan.grid_columns = plan.config.num <= 32 ? plan.config.num : frames - 1;
  nlohmann::ordered_json between = nlohmann::ordered_json::array();
  std::vector<std::string> names;
  for (const NoiseEnd& end : shortened(ends, options.seed)) {
    if (end.seed)
      between.push_back(word_of(end, ":"));
    else
      between.push_back(end.image);
    names.push_back(word_of(end, "_"));
  }
  const nlohmann::ordered_json settings{{"between", between}, {"frames", frames}};
  set_task_(plan, options, fmt::format("between-{}-frames-{}", fmt::join(names, "-"), frames),
            io::json_text(settings), options.init_noise);
}

torch::Tensor noise_of_way(const SamplePlan& plan, const std::vector<NoiseEnd>& ends,
                           int64_t frames) {
  std::vector<torch::Tensor> noises, way;
  for (const NoiseEnd& end : ends) noises.push_back(noise_of_end(plan, end));
  for (size_t k = 0; k + 1 < noises.size(); ++k)
    for (int64_t f = 0; f < frames - 1; ++f)
      way.push_back(sample::slerp(noises[k], noises[k + 1],
                                  static_cast<double>(f) / static_cast<double>(frames - 1)));
  way.push_back(noises.back());
  return torch::cat(way);
}

}  // namespace ddpm::pipeline
