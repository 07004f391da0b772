#include "ddpm/config/fields.h"
#include "ddpm/io/checksum.h"
#include "ddpm/io/json_text.h"
#include "ddpm/sample/sample_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace ddpm::sample {

nlohmann::ordered_json image_settings(const SampleConfig& config) {
  nlohmann::ordered_json json = config::to_json(config);
  json.erase("num");
  json.erase("batch");
  json.erase("provenance");
  return json;
}

namespace {

// [0.3, 5.0] as "0.3-5"; the checksum of a long list.
std::string joined(const nlohmann::ordered_json& list) {
  const std::string text = fmt::format("{}", fmt::join(list.get<std::vector<double>>(), "-"));
  constexpr size_t kLongest = 40;
  return text.size() <= kLongest ? text : fmt::format("{:08x}", io::crc32c(text));
}

}  // namespace

std::string short_name(const SampleConfig& config) {
  const nlohmann::ordered_json own = image_settings(config), defaults = image_settings({});
  std::string name = fmt::format("{}-{}", config.method, config.steps);
  for (const auto& [key, value] : own.items()) {
    if (key == "method" || key == "steps" || value == defaults.at(key)) continue;
    const bool bare = key == "sigma" || key == "spacing" || key == "clip";
    const std::string text = value.is_string()         ? value.get<std::string>()
                             : value.is_array()        ? joined(value)
                             : value.is_number_float() ? fmt::format("{}", value.get<double>())
                                                       : io::json_text(value);
    name += bare ? fmt::format("-{}", text) : fmt::format("-{}-{}", key, text);
  }
  return name;
}

}  // namespace ddpm::sample
