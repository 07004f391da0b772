// The example of docs/extending.md, "A data format": STL-10's binary files.

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "src/data/array_images.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::extending {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kStlSide = 96;
constexpr int64_t kStlPixels = 3 * kStlSide * kStlSide;
constexpr int64_t kStlClasses = 10;

/// The labels 0..9 of `count` images, stored as one byte each, 1..10.
std::vector<int64_t> read_stl10_labels(const fs::path& path, int64_t count) {
  const std::vector<uint8_t> bytes = io::read_file(path);
  if (std::ssize(bytes) != count)
    throw IoError(path, fmt::format("holds {} labels for {} images", bytes.size(), count));
  std::vector<int64_t> labels;
  for (const uint8_t byte : bytes) {
    if (byte < 1 || byte > kStlClasses)
      throw IoError(path, fmt::format("label {} is not in 1..{}", byte, kStlClasses));
    labels.push_back(byte - 1);
  }
  return labels;
}

/// STL-10's binary files (Coates 2011). `path` is NAME_X.bin: per image 3 planes of 96x96 bytes,
/// each stored column by column. The labels are in NAME_y.bin in the same folder. Throws IoError if
/// a file is missing, truncated, or holds an unknown label.
std::unique_ptr<data::Dataset> open_stl10(const fs::path& path, const data::ImageOptions& options) {
  const io::InputFile file(path);
  const auto size = static_cast<int64_t>(file.size());
  if (size == 0 || size % kStlPixels != 0) {
    throw IoError(path, fmt::format("is truncated or not an STL-10 file: {} bytes are not a "
                                    "multiple of {}; fetch it again",
                                    size, kStlPixels));
  }
  data::ImageArray array;
  array.count = size / kStlPixels;
  const torch::Tensor planes =
      torch::empty({array.count, 3, kStlSide, kStlSide}, torch::kUInt8);  // [N,C,column,row]
  file.read_at(0, {planes.data_ptr<uint8_t>(), static_cast<size_t>(size)});

  const std::string stem = path.stem().string();
  const fs::path labels = path.parent_path() / (stem.substr(0, stem.rfind("_X")) + "_y.bin");
  array.title = fmt::format("STL-10 file {}", path.string());
  array.shape = {3, kStlSide, kStlSide};
  array.image = [planes](int64_t i) { return planes[i].transpose(1, 2).contiguous(); };
  array.labels = read_stl10_labels(labels, array.count);
  array.classes = data::numbered_classes(kStlClasses);
  array.files = {path, labels};
  return data::open_array(std::move(array), options);
}

// Byte (image, plane, column, row) is (5 image + 7 plane + 3 column + row) mod 256.
fixtures::Bytes stl10_planes(int images) {
  fixtures::Bytes bytes;
  for (int i = 0; i < images; ++i)
    for (int c = 0; c < 3; ++c)
      for (int x = 0; x < kStlSide; ++x)
        for (int y = 0; y < kStlSide; ++y)
          bytes.push_back(static_cast<uint8_t>(5 * i + 7 * c + 3 * x + y));
  return bytes;
}

TEST(DataFormatExample, ReadsPlanesByColumnsAndLabelsFromOne) {
  const TemporaryFolder folder;
  fixtures::write(folder / "train_X.bin", stl10_planes(2));
  fixtures::write(folder / "train_y.bin", {1, 10});
  const auto set = open_stl10(folder / "train_X.bin", {});
  ASSERT_EQ(set->size(), 2);
  EXPECT_EQ(set->class_count(), 10);
  EXPECT_EQ(set->get(0).label, 0);
  EXPECT_EQ(set->get(1).label, 9);

  const torch::Tensor steps = torch::arange(kStlSide);
  const torch::Tensor plane = 3 * steps.view({1, kStlSide}) + steps.view({kStlSide, 1});
  const torch::Tensor planes = torch::stack({plane, plane + 7, plane + 14});
  const torch::Tensor second = (planes + 5).remainder(256).to(torch::kUInt8);
  EXPECT_TRUE(torch::equal(set->get(1).image, second));
}

TEST(DataFormatExample, RefusesTruncatedFilesAndUnknownLabels) {
  const TemporaryFolder folder;
  fixtures::Bytes bytes = stl10_planes(1);
  fixtures::write(folder / "train_X.bin", bytes);
  fixtures::write(folder / "train_y.bin", {11});
  EXPECT_THROW(open_stl10(folder / "train_X.bin", {}), IoError);
  fixtures::write(folder / "train_y.bin", {1, 2});
  EXPECT_THROW(open_stl10(folder / "train_X.bin", {}), IoError);
  fixtures::write(folder / "train_y.bin", {1});
  EXPECT_EQ(open_stl10(folder / "train_X.bin", {})->size(), 1);
  bytes.pop_back();
  fixtures::write(folder / "train_X.bin", bytes);
  EXPECT_THROW(open_stl10(folder / "train_X.bin", {}), IoError);
}

}  // namespace
}  // namespace ddpm::extending
