#include "src/data/idx.h"

#include "ddpm/base/error.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

using fixtures::Bytes;
using fixtures::message_of;

void append_32(Bytes& bytes, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8)
    bytes.push_back(static_cast<uint8_t>(value >> shift));
}

Bytes images_file(uint32_t count, uint32_t height, uint32_t width, uint32_t magic = 0x803) {
  Bytes bytes;
  for (const uint32_t word : {magic, count, height, width}) append_32(bytes, word);
  for (uint32_t i = 0; i < count * height * width; ++i)
    bytes.push_back(static_cast<uint8_t>(3 * i));
  return bytes;
}

Bytes labels_file(const Bytes& labels, uint32_t magic = 0x801) {
  Bytes bytes;
  append_32(bytes, magic);
  append_32(bytes, static_cast<uint32_t>(labels.size()));
  bytes.insert(bytes.end(), labels.begin(), labels.end());
  return bytes;
}

TEST(Idx, ReadsPlainFilesWithLabels) {
  const TemporaryFolder folder;
  fixtures::write(folder / "train-images-idx3-ubyte", images_file(3, 4, 5));
  fixtures::write(folder / "train-labels-idx1-ubyte", labels_file({2, 0, 1}));
  const auto set = open_idx(folder / "train-images-idx3-ubyte", {});
  EXPECT_EQ(set->size(), 3);
  EXPECT_EQ(set->shape(), (ImageShape{1, 4, 5}));
  EXPECT_EQ(set->class_count(), 3);
  EXPECT_EQ(set->class_names(), (std::vector<std::string>{"0", "1", "2"}));
  const Example example = set->get(2);
  EXPECT_EQ(example.label, 1);
  const torch::Tensor expected = (torch::arange(40, 60) * 3).to(torch::kUInt8).view({1, 4, 5});
  EXPECT_TRUE(torch::equal(example.image, expected));
}

TEST(Idx, ReadsGzipAndDottedNamesAndNoLabels) {
  const TemporaryFolder folder;
  fixtures::write(folder / "x-images.idx3-ubyte.gz", fixtures::gzip(images_file(2, 3, 3)));
  const auto set = open_idx(folder.path(), {});
  EXPECT_EQ(set->size(), 2);
  EXPECT_EQ(set->class_count(), 0);
  EXPECT_EQ(set->get(0).label, -1);
  fixtures::write(folder / "x-labels.idx1-ubyte", labels_file({4, 9}));
  EXPECT_EQ(open_idx(folder.path(), {})->get(1).label, 9);
}

TEST(Idx, FolderPrefersTraining) {
  const TemporaryFolder folder;
  fixtures::write(folder / "t10k-images-idx3-ubyte", images_file(1, 3, 3));
  fixtures::write(folder / "train-images-idx3-ubyte.gz", fixtures::gzip(images_file(2, 3, 3)));
  EXPECT_EQ(open_idx(folder.path(), {})->size(), 2);
  fixtures::write(folder / "train-images-idx3-ubyte", images_file(2, 3, 3));  // the same, unpacked
  EXPECT_EQ(open_idx(folder.path(), {})->size(), 2);
}

TEST(Idx, TransformsToSizeAndChannels) {
  const TemporaryFolder folder;
  fixtures::write(folder / "train-images-idx3-ubyte", images_file(2, 4, 6));
  const auto set = open_idx(folder.path(), {ImageSize{8, 8}, 3});
  EXPECT_EQ(set->shape(), (ImageShape{3, 8, 8}));
  const torch::Tensor image = set->get(1).image;
  EXPECT_EQ(image.sizes(), (torch::IntArrayRef{3, 8, 8}));
  EXPECT_TRUE(torch::equal(image[0], image[2]));
}

TEST(Idx, SaysWhatIsWrongWithWhichFile) {
  const TemporaryFolder folder;
  const auto images = folder / "train-images-idx3-ubyte";
  const auto labels = folder / "train-labels-idx1-ubyte";
  const auto opening = [&] { return message_of<IoError>([&] { open_idx(images, {}); }); };

  EXPECT_CONTAINS(opening(), "train-images-idx3-ubyte: does not exist; check data.path");
  fixtures::write(images, images_file(2, 3, 3, 0x801));
  EXPECT_CONTAINS(opening(), "magic number 0x00000801, expected 0x00000803");
  fixtures::write(images, {0, 0, 8, 3});
  EXPECT_CONTAINS(opening(), "is cut short: 4 bytes");
  Bytes bytes = images_file(2, 3, 3);
  bytes.pop_back();
  fixtures::write(images, bytes);
  EXPECT_CONTAINS(opening(),
                  "is cut short: its header announces 18 bytes of data (2 x 3 x 3), it holds 17");
  bytes = images_file(2, 3, 3);
  bytes.push_back(0);
  fixtures::write(images, bytes);
  EXPECT_CONTAINS(opening(), "is too long");
  fixtures::write(images, images_file(0, 3, 3));
  EXPECT_CONTAINS(opening(), "no data in it");
  bytes = {0, 0, 8, 3};  // sizes whose product overflows 64 bits
  for (int i = 0; i < 3; ++i) append_32(bytes, 0xFFFFFFFF);
  fixtures::write(images, bytes);
  EXPECT_CONTAINS(opening(), "is cut short");
  bytes = fixtures::gzip(images_file(20, 3, 3));
  bytes.resize(bytes.size() - 9);
  fixtures::write(images, bytes);
  EXPECT_CONTAINS(opening(), "train-images-idx3-ubyte: is a truncated gzip file");

  fixtures::write(images, images_file(2, 3, 3));
  fixtures::write(labels, labels_file({1, 2, 3}));
  EXPECT_CONTAINS(opening(), "train-labels-idx1-ubyte: holds 3 labels, but");
  fixtures::write(labels, labels_file({1, 2}, 0x803));
  EXPECT_CONTAINS(opening(), "is not an IDX file of 8-bit labels");
}

TEST(Idx, FolderWithoutOrWithSeveralFilesSaysWhatToDo) {
  const TemporaryFolder folder;
  const auto opening = [&] { return message_of<IoError>([&] { open_idx(folder.path(), {}); }); };
  EXPECT_CONTAINS(opening(), "no IDX image file in this folder");
  fixtures::write(folder / "a-images-idx3-ubyte", images_file(1, 3, 3));
  fixtures::write(folder / "b-images-idx3-ubyte", images_file(1, 3, 3));
  EXPECT_CONTAINS(opening(),
                  "2 IDX image files in this folder (a-images-idx3-ubyte, b-images-idx3-ubyte");
}

// Numbers taken with numpy from the same files.
TEST(Idx, MnistTestSetHasTheKnownContent) {
  const std::filesystem::path path = std::filesystem::path(DDPM_TEST_DATA) / "mnist-10k";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no real images at " << path;
  const auto set = open_idx(path, {});
  ASSERT_EQ(set->size(), 10000);
  EXPECT_EQ(set->shape(), (ImageShape{1, 28, 28}));
  EXPECT_EQ(set->class_count(), 10);
  std::vector<int64_t> counts(10, 0);
  int64_t sum = 0;
  for (int64_t i = 0; i < set->size(); ++i) {
    const Example example = set->get(i);
    ++counts.at(example.label);
    sum += example.image.sum().item<int64_t>();
  }
  EXPECT_EQ(counts, (std::vector<int64_t>{980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009}));
  EXPECT_EQ(sum, 264923200);
  EXPECT_EQ(set->get(0).label, 7);
  EXPECT_TRUE(torch::equal(set->get(0).image[0][7].slice(0, 6, 12),
                           torch::tensor({84, 185, 159, 151, 60, 36}, torch::kUInt8)));
  EXPECT_EQ(set->get(9999).image.sum().item<int64_t>(), 41833);
}

// A small .gz that unpacks to 300 MB: no more of it is unpacked than its header announces.
TEST(Idx, UnpacksNoMoreThanTheHeaderAnnounces) {
  const TemporaryFolder folder;
  const auto images = folder / "train-images-idx3-ubyte.gz";
  Bytes bytes = images_file(2, 3, 3);
  bytes.resize(300'000'000, 0);
  fixtures::write(images, fixtures::gzip(bytes));
  EXPECT_CONTAINS(message_of<IoError>([&] { open_idx(images, {}); }),
                  "is too long: its header announces 18 bytes of data (2 x 3 x 3), it holds more");
}

}  // namespace
}  // namespace ddpm::data
