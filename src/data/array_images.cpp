#include "array_images.h"

#include "ddpm/base/error.h"
#include "ddpm/io/image.h"
#include "fingerprint.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

class ArrayImages final : public Dataset {
 public:
  ArrayImages(ImageArray array, const ImageOptions& options)
      : array_(std::move(array)),
        native_{array_.shape.height, array_.shape.width},
        size_(options.size.value_or(native_)),
        channels_(options.channels == 0 ? array_.shape.channels : options.channels) {
    if (options.labels == "none") {
      array_.labels.clear();
      array_.classes.clear();
    }
    for (const std::string& remark : array_.remarks) spdlog::info("{}", remark);
    TORCH_CHECK(array_.labels.empty() || static_cast<int64_t>(array_.labels.size()) == array_.count,
                array_.labels.size(), " labels for ", array_.count, " images");
  }

  int64_t size() const override { return array_.count; }
  ImageShape shape() const override { return {channels_, size_.height, size_.width}; }
  torch::Dtype pixel_type() const override { return array_.pixel_type; }
  std::vector<std::string> remarks() const override { return array_.remarks; }
  int64_t class_count() const override { return static_cast<int64_t>(array_.classes.size()); }
  std::vector<std::string> class_names() const override { return array_.classes; }
  Example get(int64_t index) const override {
    return {with_channels(resize_and_crop(stored(index), size_), channels_), label(index)};
  }
  Example get_uncropped(int64_t index) const override {
    return {with_channels(scale_to_cover(stored(index), size_), channels_), label(index)};
  }
  std::optional<ImageShape> uncropped_shape() const override {
    const ImageSize scaled = covering_size(native_, size_);
    return ImageShape{channels_, scaled.height, scaled.width};
  }
  SizeRange source_sizes() const override {
    return {native_.height, native_.height, native_.width, native_.width};
  }
  std::string fingerprint() const override {
    Fingerprint sum;
    for (const std::filesystem::path& file : array_.files) {
      std::error_code gone;  // the file has been read: its content is in memory
      sum.add(file.filename().string());
      sum.add(static_cast<int64_t>(std::filesystem::file_size(file, gone)));
    }
    return sum.add(array_.count).add(array_.labels).add(array_.classes).hex();
  }
  std::string description() const override {
    return fmt::format("{}: {}", array_.title, describe_contents());
  }

 private:
  torch::Tensor stored(int64_t index) const {
    TORCH_CHECK(index >= 0 && index < size(), "image ", index, " of ", size());
    return array_.image(index);
  }
  int64_t label(int64_t index) const { return array_.labels.empty() ? -1 : array_.labels[index]; }

  ImageArray array_;
  ImageSize native_, size_;
  int64_t channels_;
};

}  // namespace

std::unique_ptr<Dataset> open_array(ImageArray array, const ImageOptions& options) {
  const int64_t own = array.shape.channels;
  if (options.channels != 0 && options.channels != own &&
      std::max(options.channels, own) > io::kMaxImageChannels) {
    throw UsageError(fmt::format(
        "{} has {} channel{}, which cannot become {}{}", array.title, own, own == 1 ? "" : "s",
        options.channels, options.has_config ? fmt::format("; set data.channels = {}", own) : ""));
  }
  return std::make_unique<ArrayImages>(std::move(array), options);
}

}  // namespace ddpm::data
