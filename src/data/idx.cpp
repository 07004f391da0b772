#include "idx.h"

#include "array_images.h"
#include "ddpm/base/error.h"
#include "ddpm/data/memory.h"
#include "ddpm/io/archive.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/foreign_text.h"
#include "folder_listing.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;

// Magic number: 0, 0, type (8 = unsigned byte), number of dimensions; then each dimension,
// big-endian.
constexpr uint32_t kImagesMagic = 0x00000803;
constexpr uint32_t kLabelsMagic = 0x00000801;

constexpr std::array<std::array<const char*, 2>, 2> kNames = {{
    {"images-idx3-ubyte", "labels-idx1-ubyte"},
    {"images.idx3-ubyte", "labels.idx1-ubyte"},
}};

// The sizes in a header. `bytes`: the beginning of the file, or all of a shorter one.
std::vector<int64_t> sizes_in_header(const fs::path& path, const std::vector<uint8_t>& bytes,
                                     uint32_t magic, int dimensions) {
  io::refuse_foreign_text(path, bytes);
  const size_t header = 4 + 4 * static_cast<size_t>(dimensions);
  if (bytes.size() < header) {
    throw IoError(path,
                  fmt::format("is cut short: {} bytes, but an IDX header has {}; fetch it again",
                              bytes.size(), header));
  }
  const std::span<const uint8_t> content = bytes;
  if (const uint64_t found = io::big_endian(content.first(4)); found != magic) {
    throw IoError(path,
                  fmt::format("is not an IDX file of {}: magic number 0x{:08x}, expected 0x{:08x}",
                              dimensions == 3 ? "8-bit images" : "8-bit labels", found, magic));
  }
  std::vector<int64_t> sizes;
  for (int i = 0; i < dimensions; ++i)
    sizes.push_back(static_cast<int64_t>(io::big_endian(content.subspan(4 + 4 * i, 4))));
  if (std::count(sizes.begin(), sizes.end(), 0) > 0)
    throw IoError(path, "is an IDX file with no data in it");
  return sizes;
}

// Reads an IDX file of unsigned bytes with `dimensions` axes. Returns uint8 of the header's sizes.
// A small .gz may hold gigabytes: unpacks no more than its header states.
torch::Tensor read_idx(const fs::path& path, uint32_t magic, int dimensions) {
  const size_t header = 4 + 4 * static_cast<size_t>(dimensions);
  const std::vector<int64_t> sizes =
      sizes_in_header(path, io::read_file_maybe_gzip(path, header), magic, dimensions);
  double expected = 1;  // double: the product of three 32-bit sizes may exceed 64 bits
  for (const int64_t size : sizes) expected *= static_cast<double>(size);
  // Unpacking may hold the bytes twice, and the tensor once more.
  const auto fitting = static_cast<double>(available_memory() / 3);
  const std::vector<uint8_t> bytes = io::read_file_maybe_gzip(
      path, header + static_cast<uint64_t>(std::min(expected, fitting)) + 1);
  const size_t have = bytes.size() - header;
  if (static_cast<double>(have) > fitting) expect_fits_memory(path, 3 * expected);
  if (expected != static_cast<double>(have)) {
    const bool cut = static_cast<double>(have) < expected;
    throw IoError(
        path, fmt::format("{}: its header announces {:.0f} bytes of data ({}), it holds {}; fetch "
                          "it again",
                          cut ? "is cut short" : "is too long", expected, fmt::join(sizes, " x "),
                          cut ? std::to_string(have) : "more"));
  }
  torch::Tensor out = torch::empty(sizes, torch::kUInt8);
  std::memcpy(out.data_ptr<uint8_t>(), bytes.data() + header, have);
  return out;
}

// The label file that belongs to an image file, or an empty path.
fs::path labels_beside(const fs::path& images) {
  std::string name = images.filename().string();
  for (const auto& [image_part, label_part] : kNames) {
    const size_t at = name.rfind(image_part);
    if (at == std::string::npos) continue;
    name = name.substr(0, at) + label_part;
    for (const char* end : {"", ".gz"}) {
      const fs::path candidate = images.parent_path() / (name + end);
      if (fs::exists(candidate)) return candidate;
    }
    break;
  }
  return {};
}

fs::path image_file_in(const fs::path& folder) {
  std::vector<fs::path> found, training;
  for (const fs::path& path : files_in(folder)) {
    if (!is_idx_image_name(path)) continue;
    // Prefers an unpacked file to the packed one beside it.
    if (path.extension() == ".gz" && fs::exists(fs::path(path).replace_extension())) continue;
    found.push_back(path);
    if (path.filename().string().starts_with("train-")) training.push_back(path);
  }
  if (training.size() == 1) return training[0];
  if (found.size() == 1) return found[0];
  if (found.empty()) {
    throw IoError(folder,
                  "no IDX image file in this folder; expected train-images-idx3-ubyte[.gz]");
  }
  std::sort(found.begin(), found.end());
  throw IoError(
      folder,
      fmt::format("{} IDX image files in this folder ({}, {}, ...); set data.path to one of them",
                  found.size(), found[0].filename().string(), found[1].filename().string()));
}

}  // namespace

bool is_idx_image_name(const fs::path& path) {
  std::string name = path.filename().string();
  if (name.ends_with(".gz")) name.resize(name.size() - 3);
  return std::any_of(kNames.begin(), kNames.end(),
                     [&](const auto& pair) { return name.ends_with(pair[0]); });
}

std::unique_ptr<Dataset> open_idx(const fs::path& path, const ImageOptions& options) {
  expect_exists(path, options.has_config);
  const fs::path file = fs::is_directory(path) ? image_file_in(path) : path;
  torch::Tensor images = read_idx(file, kImagesMagic, 3);
  torch::Tensor labels;
  if (const fs::path label_file = labels_beside(file); !label_file.empty()) {
    labels = read_idx(label_file, kLabelsMagic, 1);
    if (labels.size(0) != images.size(0)) {
      throw IoError(
          label_file,
          fmt::format("holds {} labels, but {} holds {} images; they belong to different sets",
                      labels.size(0), file.string(), images.size(0)));
    }
  }
  ImageArray array;
  array.files = {file};
  array.title = "IDX file " + file.string();
  array.count = images.size(0);
  array.shape = {1, images.size(1), images.size(2)};
  array.image = [images](int64_t index) { return images.narrow(0, index, 1); };
  if (labels.defined()) {
    array.labels.assign(labels.data_ptr<uint8_t>(), labels.data_ptr<uint8_t>() + labels.size(0));
    array.classes = numbered_classes(labels.max().item<int64_t>() + 1);
  }
  return open_array(std::move(array), options);
}

}  // namespace ddpm::data
