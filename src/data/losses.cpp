#include "losses.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ddpm::data {
namespace {

constexpr std::array<std::string_view, 24> kPictures = {
    ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".j2k",
    ".jxl", ".psd", ".svg",  ".exr",  ".hdr",  ".ico",  ".dng", ".cr2",
    ".nef", ".arw", ".raw",  ".pbm",  ".pnm",  ".mp4",  ".mov", ".avi"};

bool is_with_alpha(int64_t channels) { return channels == 2 || channels == 4; }

}  // namespace

void Losses::count(const io::ImageInfo& info, int64_t channels) {
  colour += info.channels >= 3 && channels < 3;
  alpha += is_with_alpha(info.channels) && !is_with_alpha(channels);
  depth += info.deep;
}

std::vector<std::string> Losses::remarks(int64_t total, const std::string& first, int64_t channels,
                                         bool as_asked, bool has_config) const {
  std::vector<std::string> sentences;
  const auto remark = [&](int64_t count, const std::string& one, const std::string& many,
                          const std::string& way_out) {
    if (count == 0) return;
    sentences.push_back(fmt::format("{} of {} images {}{}", count, total, count == 1 ? one : many,
                                    has_config && !way_out.empty() ? "; " + way_out : ""));
  };
  if (!as_asked) {
    const std::string grey = fmt::format("grey, as the first, {}, is grey", first);
    remark(colour, "has colours and becomes " + grey, "have colours and become " + grey,
           "set data.channels = 3 to keep the colours, or 1 to agree");
    remark(alpha, "has an alpha channel, which is dropped",
           "have an alpha channel, which is dropped",
           fmt::format("set data.channels = {} to keep it, or {} to agree", channels < 3 ? 2 : 4,
                       channels < 3 ? 1 : 3));
  }
  remark(depth, "has 16 bits per channel and is rounded to 8",
         "have 16 bits per channel and are rounded to 8", "set data.depth = 16 to keep them");
  return sentences;
}

std::string counted_endings(const std::map<std::string, int64_t>& endings) {
  std::vector<std::pair<int64_t, std::string>> sorted;
  for (const auto& [ending, count] : endings)
    sorted.emplace_back(count, ending.empty() ? "without ending" : ending);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  constexpr size_t kShown = 12;
  std::vector<std::string> parts;
  for (const auto& [count, ending] : sorted) {
    if (parts.size() == kShown) {
      parts.push_back(fmt::format("{} more endings", sorted.size() - kShown));
      break;
    }
    parts.push_back(fmt::format("{} {}", count, ending));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string pictures_passed_over(const std::map<std::string, int64_t>& endings) {
  std::map<std::string, int64_t> pictures;
  for (const auto& [ending, count] : endings) {
    if (std::find(kPictures.begin(), kPictures.end(), ending) != kPictures.end())
      pictures[ending] = count;
  }
  if (pictures.empty()) return "";
  return fmt::format(
      "files of formats that are not read are passed over: {}; convert them to PNG, "
      "JPEG or WebP",
      counted_endings(pictures));
}

}  // namespace ddpm::data
