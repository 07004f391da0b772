#include "image_names.h"

#include "ddpm/base/text.h"

#include <algorithm>
#include <array>
#include <sstream>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::data {
namespace {

constexpr std::array<std::string_view, 10> kImageEndings = {"png",  "jpg", "jpeg", "jpe", "jfif",
                                                            "webp", "bmp", "tga",  "pgm", "ppm"};

}  // namespace

std::string ending_of(const std::string& name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos || name.find('/', dot) != std::string::npos) return "";
  return lowercase(name.substr(dot + 1));
}

bool is_hidden_name(const std::string& name) {
  std::stringstream stream(name);
  for (std::string part; std::getline(stream, part, '/');) {
    if (part.starts_with('.') || part == "__MACOSX") return true;
  }
  return false;
}

bool is_image_name(const std::string& name) {
  const std::string ending = ending_of(name);
  return !is_hidden_name(name) &&
         std::find(kImageEndings.begin(), kImageEndings.end(), ending) != kImageEndings.end();
}

std::string image_endings() { return fmt::format("{}", fmt::join(kImageEndings, ", ")); }

}  // namespace ddpm::data
