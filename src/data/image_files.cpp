#include "ddpm/data/image_files.h"

#include "ddpm/base/error.h"
#include "ddpm/io/image.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <set>
#include <sstream>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>
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

class ImageFiles final : public Dataset {
 public:
  ImageFiles(ImageSource source, const ImageOptions& options)
      : source_(std::move(source)), folders_(labels_from_folders(source_.names)) {
    const io::ImageInfo first = info(source_.names[0]);
    size_ = options.size.value_or(ImageSize{first.height, first.width});
    channels_ = options.channels != 0 ? options.channels : (first.channels == 1 ? 1 : 3);
    resizes_ = options.size.has_value();
    if (!resizes_) {
      for (const std::string& name : source_.names) {
        const io::ImageInfo other = info(name);
        expect_size(name, other.height, other.width);
      }
    }
  }

  int64_t size() const override { return static_cast<int64_t>(source_.names.size()); }
  ImageShape shape() const override { return {channels_, size_.height, size_.width}; }
  int64_t class_count() const override { return static_cast<int64_t>(folders_.classes.size()); }
  std::vector<std::string> class_names() const override { return folders_.classes; }

  Example get(int64_t index) const override {
    TORCH_CHECK(index >= 0 && index < size(), "image ", index, " of ", size());
    const std::string& name = source_.names[index];
    const io::Image image =
        io::decode_image(source_.read(name), full_name(name), static_cast<int>(channels_));
    if (!resizes_) expect_size(name, image.height, image.width);
    return {resize_and_crop(io::to_tensor(image), size_),
            folders_.labels.empty() ? -1 : folders_.labels[index]};
  }

  std::string description() const override {
    return fmt::format("{} {}: {}", source_.kind, source_.root.string(), describe_contents());
  }

 private:
  std::string full_name(const std::string& name) const { return (source_.root / name).string(); }

  io::ImageInfo info(const std::string& name) const {
    return io::image_info(source_.read(name), full_name(name));
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
  ImageSize size_;
  int64_t channels_ = 3;
  bool resizes_ = false;
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
