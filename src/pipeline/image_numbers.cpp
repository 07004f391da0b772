#include "ddpm/base/error.h"
#include "ddpm/pipeline/picture_note.h"
#include "whole_number.h"

#include <string_view>

#include <fmt/format.h>

namespace ddpm::pipeline {

std::vector<int64_t> image_numbers(const std::string& flag, const std::string& text,
                                   int64_t count) {
  const auto refuse = [&](const std::string& why) {
    throw UsageError(fmt::format("{} {}: {}", flag, text, why));
  };
  std::vector<int64_t> images;
  std::string_view rest = text;
  for (bool more = true; more;) {
    const size_t comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    more = comma != std::string_view::npos;
    rest.remove_prefix(more ? comma + 1 : rest.size());
    const size_t dash = item.find('-');
    const int64_t first = whole_number(item.substr(0, dash)).value_or(-1);
    const int64_t last =
        dash == std::string_view::npos ? first : whole_number(item.substr(dash + 1)).value_or(-1);
    if (first < 0 || last < first)
      refuse("must be numbers of images or ranges of them, as in 3 or 0-4,7");
    if (last >= count) refuse(fmt::format("the images are 0 to {}", count - 1));
    if (!images.empty() && first <= images.back()) refuse("the numbers must rise");
    for (int64_t i = first; i <= last; ++i) images.push_back(i);
  }
  return images;
}

std::string text_of_numbers(const std::vector<int64_t>& images) {
  std::string text;
  for (size_t i = 0; i < images.size();) {
    size_t end = i + 1;
    while (end < images.size() && images[end] == images[end - 1] + 1) ++end;
    text += fmt::format("{}{}", text.empty() ? "" : ",", images[i]);
    if (end > i + 1) text += fmt::format("-{}", images[end - 1]);
    i = end;
  }
  return text;
}

}  // namespace ddpm::pipeline
