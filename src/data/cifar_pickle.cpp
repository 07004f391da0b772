#include "cifar_pickle.h"

#include "ddpm/base/error.h"
#include "ddpm/data/memory.h"
#include "ddpm/io/torch_file.h"
#include "folder_listing.h"

#include <fmt/format.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kCifarSide = 32;

struct PickleFormat {
  const char* name;
  const char* labels;  ///< keys of a file, and of the one with the names
  const char* names;
  const char* meta;
  int64_t classes;
};
constexpr PickleFormat kPickles10 = {"CIFAR-10", "labels", "label_names", "batches.meta", 10};
constexpr PickleFormat kPickles100 = {"CIFAR-100", "fine_labels", "fine_label_names", "meta", 100};

[[noreturn]] void fail_content(const fs::path& file, const PickleFormat& format,
                               const std::string& what) {
  throw IoError(file, fmt::format("is no file of {}'s Python version: {}; fetch it again",
                                  format.name, what));
}

const io::TorchValue& entry(const io::TorchValue& dict, const char* key, const fs::path& file,
                            const PickleFormat& format) {
  const io::TorchValue* found = dict.find(key);
  if (!found) fail_content(file, format, fmt::format("it has no \"{}\"", key));
  return *found;
}

torch::Tensor images_of(const io::TorchValue& dict, const fs::path& file,
                        const PickleFormat& format) {
  const torch::Tensor& data = entry(dict, "data", file, format).tensor;
  if (!data.defined() || data.dim() != 2 || data.size(1) != 3 * kCifarSide * kCifarSide)
    fail_content(file, format, "its \"data\" is no array of bytes [N, 3072]");
  return data.view({-1, 3, kCifarSide, kCifarSide});
}

void append_labels(const io::TorchValue& dict, const fs::path& file, const PickleFormat& format,
                   int64_t count, std::vector<int64_t>& labels) {
  const io::TorchValue& list = entry(dict, format.labels, file, format);
  if (std::ssize(list.items) != count)
    fail_content(file, format,
                 fmt::format("it has {} images and {} labels", count, list.items.size()));
  for (const io::TorchValue& item : list.items) {
    const bool number = item.kind == io::TorchValue::Kind::kInteger;
    if (!number || item.integer < 0 || item.integer >= format.classes)
      fail_content(file, format, fmt::format("a label is not in 0..{}", format.classes - 1));
    labels.push_back(item.integer);
  }
}

std::vector<std::string> names_beside(const fs::path& folder, const PickleFormat& format) {
  const fs::path file = folder / format.meta;
  if (!fs::exists(file)) return numbered_classes(format.classes);
  const io::TorchValue meta = io::read_pickle_file(file);
  std::vector<std::string> names;
  for (const io::TorchValue& name : entry(meta, format.names, file, format).items)
    names.push_back(name.text);
  if (std::ssize(names) != format.classes)
    fail_content(file, format, fmt::format("it has {} class names", names.size()));
  return names;
}

}  // namespace

bool is_cifar_pickle_folder(const fs::path& folder) {
  return fs::exists(folder / "data_batch_1") ||
         (fs::is_regular_file(folder / "train") && fs::exists(folder / "meta"));
}

ImageArray read_cifar_pickles(const fs::path& folder) {
  ImageArray array;
  for (const fs::path& file : files_in(folder))
    if (file.filename().string().starts_with("data_batch_")) array.files.push_back(file);
  const PickleFormat format = array.files.empty() ? kPickles100 : kPickles10;
  if (array.files.empty()) array.files.push_back(folder / "train");
  std::vector<torch::Tensor> images;
  for (const fs::path& file : array.files) {
    const io::TorchValue dict = io::read_pickle_file(file);
    images.push_back(images_of(dict, file, format));
    append_labels(dict, file, format, images.back().size(0), array.labels);
  }
  const torch::Tensor all = torch::cat(images);
  array.count = all.size(0);
  array.title = fmt::format("{} pickles {}", format.name, folder.string());
  array.shape = {3, kCifarSide, kCifarSide};
  array.image = [all](int64_t index) { return all[index]; };
  array.classes = names_beside(folder, format);
  return array;
}

}  // namespace ddpm::data
