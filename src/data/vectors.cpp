#include "ddpm/data/vectors.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/data/view.h"
#include "ddpm/io/checksum.h"
#include "fingerprint.h"

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <torch/utils.h>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSeveral = -1;  // rows of one name without folders

std::string slashed(std::string name) {
  std::replace(name.begin(), name.end(), '\\', '/');
  if (name.starts_with("./")) name.erase(0, 2);
  return name;
}

std::string without_folders(const std::string& name) { return name.substr(name.rfind('/') + 1); }

// Rows by the images' names.
class RowIndex {
 public:
  RowIndex(const VectorTable& table, const fs::path& path) {
    for (int64_t i = 0; i < std::ssize(table.files); ++i) {
      const std::string name = slashed(table.files[i]);
      const auto [known, is_new] = by_name_.emplace(name, i);
      if (!is_new)
        throw IoError(path, fmt::format("lines {} and {} both name {}; keep one row per image",
                                        table.lines[known->second], table.lines[i], name));
      const auto [base, first] = by_base_.emplace(without_folders(name), i);
      if (!first) base->second = kSeveral;
    }
  }
  /// -1 if there is none, or several.
  int64_t find(const std::string& name) const {
    if (const auto row = by_name_.find(name); row != by_name_.end()) return row->second;
    const auto row = by_base_.find(without_folders(name));
    return row == by_base_.end() ? -1 : row->second;
  }

 private:
  std::map<std::string, int64_t> by_name_, by_base_;
};

class WithVectors final : public View {
 public:
  WithVectors(std::shared_ptr<const Dataset> images, std::vector<std::string> columns,
              torch::Tensor vectors)
      : View(std::move(images)), columns_(std::move(columns)), vectors_(std::move(vectors)) {}

  torch::Tensor vectors() const override { return vectors_; }
  std::vector<std::string> vector_names() const override { return columns_; }
  std::string description() const override {
    return fmt::format("{}; a vector of {} per image", whole().description(),
                       ddpm::counted(std::ssize(columns_), "number"));
  }
  std::string fingerprint() const override {
    const auto* bytes = static_cast<const uint8_t*>(vectors_.const_data_ptr());
    return Fingerprint()
        .add(whole().fingerprint())
        .add(columns_)
        .add(static_cast<int64_t>(io::crc32c({bytes, vectors_.nbytes()})))
        .hex();
  }

 private:
  std::vector<std::string> columns_;
  torch::Tensor vectors_;
};

}  // namespace

torch::Tensor vectors_of_images(const VectorTable& table, const std::vector<std::string>& names,
                                const fs::path& path) {
  const auto count = std::ssize(names);
  if (table.files.empty()) {
    if (table.rows.size(0) == count) return table.rows;
    throw IoError(path, fmt::format("holds {}, but the data has {}; write one row per image, in "
                                    "the order of the images, or a CSV that names them",
                                    ddpm::counted(table.rows.size(0), "vector"),
                                    ddpm::counted(count, "image")));
  }
  const RowIndex index(table, path);
  torch::Tensor chosen = torch::empty({count}, torch::kLong);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = index.find(names[i]);
    if (row < 0)
      throw IoError(
          path, fmt::format("has no row for the image {}; add it, or remove the image", names[i]));
    chosen.data_ptr<int64_t>()[i] = row;
  }
  return table.rows.index_select(0, chosen);
}

std::unique_ptr<Dataset> with_vectors(std::shared_ptr<const Dataset> images, const fs::path& path) {
  VectorTable table = read_vector_table(path);
  std::vector<std::string> names = images->image_names();
  if (names.empty()) names = numbered_classes(images->size());
  torch::Tensor vectors = vectors_of_images(table, names, path);
  return std::make_unique<WithVectors>(std::move(images), std::move(table.columns),
                                       std::move(vectors));
}

}  // namespace ddpm::data
