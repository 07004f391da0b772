#include "ddpm/data/image_files.h"

#include "ddpm/base/error.h"
#include "ddpm/io/image.h"
#include "parallel.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>
#include <map>
#include <sstream>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 7> kEndings = {"png", "jpg", "jpeg", "bmp",
                                                      "tga", "pgm", "ppm"};

std::vector<std::string> split_path(const std::string& name) {
  std::vector<std::string> parts;
  std::stringstream stream(name);
  for (std::string part; std::getline(stream, part, '/');) parts.push_back(part);
  return parts;
}

// What the files at the same places of `names` are, or why they cannot be read ("file: reason").
struct Survey {
  std::vector<io::ImageInfo> infos;
  std::vector<std::string> problems;  // "" where there is none
};

// Size and channels without decoding.
io::ImageInfo look_at_header(const ImageSource& source, const std::string& name,
                             const std::string& full_name) {
  const std::vector<uint8_t> beginning = source.beginning(name);
  if (beginning.size() < kHeaderBytes) return io::image_info(beginning, full_name);
  if (const auto info = io::image_header(beginning, full_name)) return *info;
  return io::image_info(source.read(name), full_name);
}

io::ImageInfo look_at_all(const ImageSource& source, const std::string& name,
                          const std::string& full_name) {
  const io::Image image = io::decode_image(source.read(name), full_name);
  return {image.height, image.width, image.channels};
}

// The same error with the way out that this program offers.
[[noreturn]] void fail_unreadable(const IoError& error) {
  const std::string what = error.what(), prefix = error.path().string() + ": ";
  throw IoError(error.path(), what.substr(what.starts_with(prefix) ? prefix.size() : 0) +
                                  ", or set data.on_bad_image = \"skip\"");
}

Survey survey(const ImageSource& source, const ImageOptions& options) {
  const auto count = static_cast<int64_t>(source.names.size());
  Survey result{std::vector<io::ImageInfo>(count), std::vector<std::string>(count)};
  const bool decode = options.bad_images == BadImages::kSkip;
  parallel_for(count, options.workers, decode ? "checking images" : "reading image headers",
               [&](int64_t, int64_t i) {
                 const std::string& name = source.names[i];
                 const std::string full_name = (source.root / name).string();
                 try {
                   result.infos[i] = decode ? look_at_all(source, name, full_name)
                                            : look_at_header(source, name, full_name);
                 } catch (const IoError& error) {
                   if (options.bad_images == BadImages::kError) fail_unreadable(error);
                   result.problems[i] = error.what();
                 }
               });
  return result;
}

void warn_of(const std::vector<std::string>& skipped, size_t total) {
  constexpr size_t kShown = 10;
  for (size_t i = 0; i < std::min(kShown, skipped.size()); ++i)
    spdlog::warn("left out: {}", skipped[i]);
  spdlog::warn("{} of {} images cannot be read and are left out{}", skipped.size(), total,
               skipped.size() > kShown ? " (ddpm data lists them all)" : "");
}

class ImageFiles final : public Dataset {
 public:
  ImageFiles(ImageSource source, const ImageOptions& options)
      : source_(std::move(source)),
        folders_(labels_from_folders(source_.names)),
        resizes_(options.size.has_value()) {
    take(survey(source_, options), options.bad_images);
    const io::ImageInfo first = infos_[0];
    size_ = options.size.value_or(ImageSize{first.height, first.width});
    channels_ = options.channels != 0 ? options.channels : (first.channels < 3 ? 1 : 3);
    if (resizes_) return;
    for (size_t i = 0; i < infos_.size(); ++i)
      expect_size(source_.names[i], infos_[i].height, infos_[i].width);
  }

  int64_t size() const override { return static_cast<int64_t>(source_.names.size()); }
  ImageShape shape() const override { return {channels_, size_.height, size_.width}; }
  int64_t class_count() const override { return static_cast<int64_t>(folders_.classes.size()); }
  std::vector<std::string> class_names() const override { return folders_.classes; }
  std::vector<std::string> skipped() const override { return skipped_; }

  Example get(int64_t index) const override {
    return {resize_and_crop(decoded(index), size_), label(index)};
  }
  Example get_uncropped(int64_t index) const override {
    return {scale_to_cover(decoded(index), size_), label(index)};
  }
  std::optional<ImageShape> uncropped_shape() const override {
    const auto scaled = [&](const io::ImageInfo& info) {
      return covering_size({info.height, info.width}, size_);
    };
    const ImageSize first = scaled(infos_[0]);
    const bool alike = std::all_of(infos_.begin(), infos_.end(),
                                   [&](const auto& info) { return scaled(info) == first; });
    if (!alike) return std::nullopt;
    return ImageShape{channels_, first.height, first.width};
  }
  SizeRange source_sizes() const override {
    SizeRange range{infos_[0].height, infos_[0].height, infos_[0].width, infos_[0].width};
    for (const io::ImageInfo& info : infos_) {
      range.min_height = std::min(range.min_height, info.height);
      range.max_height = std::max(range.max_height, info.height);
      range.min_width = std::min(range.min_width, info.width);
      range.max_width = std::max(range.max_width, info.width);
    }
    return range;
  }

  std::string description() const override {
    return fmt::format(
        "{} {}: {}{}", source_.kind, source_.root.string(), describe_contents(),
        skipped_.empty() ? "" : fmt::format("; {} damaged, left out", skipped_.size()));
  }

 private:
  // Keeps the files that can be read. Class numbers stay those of all files.
  void take(Survey survey, BadImages bad_images) {
    const size_t total = source_.names.size();
    size_t kept = 0;
    for (size_t i = 0; i < total; ++i) {
      if (!survey.problems[i].empty()) {
        skipped_.push_back(std::move(survey.problems[i]));
        continue;
      }
      if (!folders_.labels.empty()) folders_.labels[kept] = folders_.labels[i];
      if (kept != i) source_.names[kept] = std::move(source_.names[i]);
      survey.infos[kept++] = survey.infos[i];
    }
    source_.names.resize(kept);
    if (!folders_.labels.empty()) folders_.labels.resize(kept);
    survey.infos.resize(kept);
    infos_ = std::move(survey.infos);
    if (kept == 0) {
      throw IoError(source_.root, fmt::format("none of its {} images can be read; the first: {}",
                                              total, skipped_[0]));
    }
    if (!skipped_.empty() && bad_images == BadImages::kSkip) warn_of(skipped_, total);
  }

  std::string full_name(const std::string& name) const { return (source_.root / name).string(); }

  torch::Tensor decoded(int64_t index) const {
    TORCH_CHECK(index >= 0 && index < size(), "image ", index, " of ", size());
    const std::string& name = source_.names[index];
    const io::Image image = [&] {
      try {
        return io::decode_image(source_.read(name), full_name(name), static_cast<int>(channels_));
      } catch (const IoError& error) {
        fail_unreadable(error);
      }
    }();
    if (!resizes_) expect_size(name, image.height, image.width);
    return io::to_tensor(image);
  }
  int64_t label(int64_t index) const {
    return folders_.labels.empty() ? -1 : folders_.labels[index];
  }

  void expect_size(const std::string& name, int64_t height, int64_t width) const {
    if (ImageSize{height, width} == size_) return;
    throw IoError(full_name(name),
                  fmt::format("is {}x{} (height x width), but {} is {}x{}; set data.image_size to "
                              "resize and crop all "
                              "images to one size",
                              height, width, source_.names[0], size_.height, size_.width));
  }

  ImageSource source_;
  FolderLabels folders_;
  bool resizes_ = false;
  ImageSize size_;
  int64_t channels_ = 3;
  std::vector<io::ImageInfo> infos_;
  std::vector<std::string> skipped_;
};

}  // namespace

bool is_image_name(const std::string& name) {
  for (const std::string& part : split_path(name)) {
    if (part.starts_with('.') || part == "__MACOSX") return false;
  }
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos) return false;
  std::string ending = name.substr(dot + 1);
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return std::find(kEndings.begin(), kEndings.end(), ending) != kEndings.end();
}

FolderLabels labels_from_folders(const std::vector<std::string>& names) {
  std::vector<std::vector<std::string>> folders;  // of each image, outermost first
  size_t depth = std::numeric_limits<size_t>::max();
  for (const std::string& name : names) {
    folders.push_back(split_path(name));
    folders.back().pop_back();
    depth = std::min(depth, folders.back().size());
  }
  if (names.empty() || depth == 0) return {};
  size_t level = 0;
  const auto shared = [&] {
    return std::all_of(folders.begin(), folders.end(),
                       [&](const auto& f) { return f[level] == folders[0][level]; });
  };
  while (level + 1 < depth && shared()) ++level;

  std::map<std::string, int64_t> numbers;
  for (const auto& parts : folders) numbers[parts[level]] = 0;
  FolderLabels result;
  for (auto& [name, number] : numbers) {
    number = static_cast<int64_t>(result.classes.size());
    result.classes.push_back(name);
  }
  for (const auto& parts : folders) result.labels.push_back(numbers[parts[level]]);
  return result;
}

std::unique_ptr<Dataset> open_images(ImageSource source, const ImageOptions& options) {
  if (source.names.empty()) {
    throw IoError(source.root, fmt::format("no images in this {}; expected files ending in {}",
                                           source.kind, fmt::join(kEndings, ", ")));
  }
  return std::make_unique<ImageFiles>(std::move(source), options);
}

}  // namespace ddpm::data
