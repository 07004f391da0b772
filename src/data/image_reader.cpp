#include "image_reader.h"

#include "ddpm/io/image.h"

#include <new>
#include <utility>

#include <fmt/format.h>

namespace ddpm::data {

ImageReader::ImageReader(ImageSource source, const ImageOptions& options)
    : source_(std::move(source)), options_(options) {}

// Called before memory of the stated size is allocated.
void ImageReader::expect_readable(const FileRecord& file) const {
  if (!file.problem.empty()) throw IoError(full_name(file.name), file.problem);
  // 16 bits for four channels, and room for metadata.
  const auto most = static_cast<uint64_t>(8 * options_.max_pixels) + (uint64_t{64} << 20);
  if (file.size <= most) return;
  throw IoError(
      full_name(file.name),
      fmt::format("is {} bytes, more than an image of {:.4g} megapixels can be; remove it",
                  file.size, 1e-6 * static_cast<double>(options_.max_pixels)));
}

io::ImageInfo ImageReader::info(const FileRecord& file) const {
  expect_readable(file);
  const std::vector<uint8_t> beginning = source_.beginning(file.name);
  if (beginning.size() < kHeaderBytes) return io::image_info(beginning, full_name(file.name));
  if (const auto info = io::image_header(beginning, full_name(file.name))) return *info;
  return io::image_info(source_.read(file.name), full_name(file.name));
}

torch::Tensor ImageReader::decode(const FileRecord& file, int64_t channels) const {
  expect_readable(file);
  try {
    const std::vector<uint8_t> bytes = source_.read(file.name);
    const std::string name = full_name(file.name);
    const auto count = static_cast<int>(channels);
    if (options_.depth > 8) return io::decode_levels(bytes, name, count, options_.max_pixels);
    return io::to_tensor(io::decode_image(bytes, name, count, options_.max_pixels));
  } catch (const std::bad_alloc&) {
    throw IoError(full_name(file.name),
                  "does not fit into the memory that is left; scale it down or remove it");
  }
}

std::string ImageReader::excess(const io::ImageInfo& info) const {
  const auto too_many = [&](int64_t height, int64_t width) {
    return width > options_.max_pixels / height;
  };
  const auto bound = [&] {
    return fmt::format("more than the {:.4g} megapixels that {}",
                       1e-6 * static_cast<double>(options_.max_pixels),
                       options_.has_config ? "data.max_megapixels allows" : "are allowed");
  };
  if (too_many(info.height, info.width)) {
    return fmt::format("has {} x {} pixels, {}; scale it down or remove it", info.height,
                       info.width, bound());
  }
  if (!options_.size) return "";
  const ImageSize scaled = covering_size({info.height, info.width}, *options_.size);
  if (!too_many(scaled.height, scaled.width)) return "";
  return fmt::format(
      "is {}x{} (height x width), too long and thin: to cover {}x{} it is scaled "
      "to {}x{}, {}; cut it or remove it",
      info.height, info.width, options_.size->height, options_.size->width, scaled.height,
      scaled.width, bound());
}

void ImageReader::fail_unreadable(const IoError& error) const {
  if (!options_.has_config) throw error;
  throw IoError(error.path(), reason_of(error) + ", or set data.on_bad_image = \"skip\"");
}

std::string reason_of(const IoError& error) {
  const std::string what = error.what(), prefix = error.path().string() + ": ";
  return what.substr(what.starts_with(prefix) ? prefix.size() : 0);
}

}  // namespace ddpm::data
