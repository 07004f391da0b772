#include "cifar.h"

#include "array_images.h"
#include "cifar_pickle.h"
#include "ddpm/base/error.h"
#include "ddpm/data/memory.h"
#include "ddpm/io/file.h"
#include "ddpm/io/foreign_text.h"
#include "folder_listing.h"

#include <algorithm>
#include <cstring>
#include <sstream>
#include <utility>

#include <fmt/format.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSide = 32;
constexpr int64_t kPixels = 3 * kSide * kSide;

// Labels come first in a record; the last one is used.
struct Format {
  const char* name;
  int64_t labels;
  int64_t classes;
  const char* names_file;
  int64_t record() const { return labels + kPixels; }
};
constexpr Format kCifar10 = {"CIFAR-10", 1, 10, "batches.meta.txt"};
constexpr Format kCifar100 = {"CIFAR-100", 2, 100, "fine_label_names.txt"};

std::vector<fs::path> files_at(const fs::path& path) {
  if (!fs::is_directory(path)) return {path};
  std::vector<fs::path> files;
  for (const fs::path& file : files_in(path)) {
    const std::string name = file.filename().string();
    if (name.starts_with("data_batch_") && name.ends_with(".bin")) files.push_back(file);
  }
  if (files.empty() && fs::exists(path / "train.bin")) files.push_back(path / "train.bin");
  if (files.empty()) {
    throw IoError(
        path,
        "no CIFAR file in this folder; expected data_batch_1.bin ... or train.bin, or set "
        "data.path to a .bin file");
  }
  return files;
}

// By the size; if it fits both formats, by the file name of CIFAR-100.
Format format_of(const fs::path& file, uint64_t size) {
  const auto fits = [size](const Format& f) {
    return size % static_cast<uint64_t>(f.record()) == 0;
  };
  const std::string name = file.filename().string();
  if (size > 0 && fits(kCifar100) && (!fits(kCifar10) || name == "train.bin" || name == "test.bin"))
    return kCifar100;
  if (size > 0 && fits(kCifar10)) return kCifar10;
  io::refuse_foreign_text(file);
  throw IoError(file, fmt::format("is cut short or no CIFAR file: its {} bytes are no whole number "
                                  "of records of {} ({}) or {} ({}) bytes; fetch it again",
                                  size, kCifar10.record(), kCifar10.name, kCifar100.record(),
                                  kCifar100.name));
}

// One name per line; numbers if the file does not exist. Throws IoError for another number of
// names.
std::vector<std::string> class_names_beside(const fs::path& file, const Format& format) {
  const fs::path path = file.parent_path() / format.names_file;
  if (!fs::exists(path)) return numbered_classes(format.classes);
  std::vector<std::string> names;
  std::istringstream text(io::read_text(path));
  for (std::string line; std::getline(text, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) names.push_back(line);
  }
  if (static_cast<int64_t>(names.size()) == format.classes) return names;
  throw IoError(path, fmt::format("holds {} class names, but {} has {} classes; restore it or "
                                  "remove it",
                                  names.size(), format.name, format.classes));
}

// Appends a file's labels; writes its pixels to `to`, [records, kPixels].
void read_records(const fs::path& file, uint64_t size, const Format& format,
                  std::vector<int64_t>& labels, uint8_t* to) {
  std::vector<uint8_t> bytes(size);
  io::InputFile(file).read_at(0, bytes);
  const int64_t count = static_cast<int64_t>(bytes.size()) / format.record();
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* record = bytes.data() + i * format.record();
    const int64_t label = record[format.labels - 1];
    if (label >= format.classes) {
      throw IoError(file,
                    fmt::format("is damaged or no {} file: record {} has the label {}, beyond "
                                "{}; fetch it again",
                                format.name, i, label, format.classes - 1));
    }
    labels.push_back(label);
    std::memcpy(to + i * kPixels, record + format.labels, kPixels);
  }
}

}  // namespace

bool is_cifar_folder(const fs::path& folder) {
  return fs::exists(folder / "data_batch_1.bin") || fs::exists(folder / "train.bin") ||
         is_cifar_pickle_folder(folder);
}

std::unique_ptr<Dataset> open_cifar(const fs::path& path, const ImageOptions& options) {
  expect_exists(path, options.has_config);
  if (fs::is_directory(path) && is_cifar_pickle_folder(path))
    return open_array(read_cifar_pickles(path), options);
  const std::vector<fs::path> files = files_at(path);
  std::vector<uint64_t> sizes;
  for (const fs::path& file : files) sizes.push_back(io::InputFile(file).size());
  const Format format = format_of(files[0], sizes[0]);

  ImageArray array;
  for (size_t i = 0; i < files.size(); ++i) {
    if (sizes[i] % static_cast<uint64_t>(format.record()) != 0 || sizes[i] == 0) {
      throw IoError(files[i],
                    fmt::format("is cut short: {} bytes are no whole number of {} records "
                                "of {} bytes; fetch it again",
                                sizes[i], format.name, format.record()));
    }
    array.count += static_cast<int64_t>(sizes[i]) / format.record();
  }
  expect_fits_memory(path, static_cast<double>(array.count) * kPixels);
  const torch::Tensor images = torch::empty({array.count, 3, kSide, kSide}, torch::kUInt8);
  for (size_t i = 0; i < files.size(); ++i) {
    const auto done = static_cast<int64_t>(array.labels.size());
    read_records(files[i], sizes[i], format, array.labels,
                 images.data_ptr<uint8_t>() + done * kPixels);
  }
  array.files = files;
  array.title = fmt::format("{} binary {}", format.name, path.string());
  array.shape = {3, kSide, kSide};
  array.image = [images](int64_t index) { return images[index]; };
  array.classes = class_names_beside(files[0], format);
  return open_array(std::move(array), options);
}

}  // namespace ddpm::data
