#include "ddpm/io/json_text.h"

#include "ddpm/base/text.h"

#include <nlohmann/json.hpp>

namespace ddpm::io {
namespace {

using Json = nlohmann::ordered_json;

Json escaped(const Json& json) {
  if (json.is_string()) return as_utf8(json.get_ref<const std::string&>());
  if (json.is_array()) {
    Json array = Json::array();
    for (const Json& item : json) array.push_back(escaped(item));
    return array;
  }
  if (!json.is_object()) return json;
  Json object = Json::object();
  for (const auto& [key, value] : json.items()) object[as_utf8(key)] = escaped(value);
  return object;
}

}  // namespace

std::string json_text(const Json& json, int indent) { return escaped(json).dump(indent); }

Json parsed_json(std::string_view text) { return Json::parse(text); }

Json json_or_discarded(std::string_view text) {
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace ddpm::io
