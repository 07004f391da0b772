#include "src/data/cifar.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <algorithm>
#include <filesystem>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

using fixtures::Bytes;
using fixtures::message_of;

// Records of these labels (CIFAR-100: coarse 5, then fine); byte k of the pixels of record i is
// (k + 7 i) mod 256.
Bytes records(const std::vector<int>& labels, bool coarse = false) {
  Bytes bytes;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (coarse) bytes.push_back(5);
    bytes.push_back(static_cast<uint8_t>(labels[i]));
    for (size_t k = 0; k < 3072; ++k) bytes.push_back(static_cast<uint8_t>(k + 7 * i));
  }
  return bytes;
}

std::string names(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += "name" + std::to_string(i) + "\n";
  return text + "\n";
}

TEST(Cifar, ReadsTheBatchesOfAFolderInOrder) {
  const TemporaryFolder folder;
  fixtures::write(folder / "data_batch_2.bin", records({3}));
  fixtures::write(folder / "data_batch_1.bin", records({9, 0}));
  fixtures::write(folder / "test_batch.bin", records({1, 1, 1}));
  fixtures::write(folder / "batches.meta.txt", fixtures::from_text(names(10)));
  const auto set = open_cifar(folder.path(), {});
  ASSERT_EQ(set->size(), 3);
  EXPECT_EQ(set->shape(), (ImageShape{3, 32, 32}));
  EXPECT_EQ(set->class_count(), 10);
  EXPECT_EQ(set->class_names()[9], "name9");
  EXPECT_EQ(set->get(0).label, 9);
  EXPECT_EQ(set->get(1).label, 0);
  EXPECT_EQ(set->get(2).label, 3);
  const torch::Tensor second =
      (torch::arange(3072) + 7).remainder(256).to(torch::kUInt8).view({3, 32, 32});
  EXPECT_TRUE(torch::equal(set->get(1).image, second));
  EXPECT_EQ(open_cifar(folder / "test_batch.bin", {})->size(), 3);
}

TEST(Cifar, Takes100FineLabels) {
  const TemporaryFolder folder;
  fixtures::write(folder / "train.bin", records({99, 42}, true));
  EXPECT_EQ(open_cifar(folder.path(), {})->class_names()[42], "42");
  fixtures::write(folder / "fine_label_names.txt", fixtures::from_text(names(100)));
  const auto set = open_cifar(folder.path(), {ImageSize{16, 16}, 1});
  EXPECT_EQ(set->class_count(), 100);
  EXPECT_EQ(set->get(0).label, 99);
  EXPECT_EQ(set->class_names()[42], "name42");
  EXPECT_EQ(set->shape(), (ImageShape{1, 16, 16}));
  EXPECT_EQ(set->get(1).image.sizes(), (torch::IntArrayRef{1, 16, 16}));
}

TEST(Cifar, SaysWhatIsWrongWithWhichFile) {
  const TemporaryFolder folder;
  const auto opening = [&] { return message_of<IoError>([&] { open_cifar(folder.path(), {}); }); };
  EXPECT_CONTAINS(opening(), "no CIFAR file in this folder");
  EXPECT_CONTAINS(message_of<IoError>([&] { open_cifar(folder / "none.bin", {}); }),
                  "none.bin: does not exist");
  Bytes bytes = records({1, 2});
  bytes.pop_back();
  fixtures::write(folder / "data_batch_1.bin", bytes);
  EXPECT_CONTAINS(opening(),
                  "data_batch_1.bin: is cut short or no CIFAR file: its 6145 bytes are no whole "
                  "number of records of 3073 (CIFAR-10) or 3074 (CIFAR-100) bytes");
  fixtures::write(folder / "data_batch_1.bin", {});
  EXPECT_CONTAINS(opening(), "is empty (0 bytes)");
  fixtures::write(folder / "data_batch_1.bin", records({1, 10}));
  EXPECT_CONTAINS(opening(), "record 1 has the label 10, beyond 9");
  fixtures::write(folder / "data_batch_1.bin", records({1}));
  fixtures::write(folder / "data_batch_2.bin", bytes);
  EXPECT_CONTAINS(opening(),
                  "data_batch_2.bin: is cut short: 6145 bytes are no whole number of "
                  "CIFAR-10 records of 3073 bytes");
  fixtures::write(folder / "data_batch_2.bin", records({2}));
  fixtures::write(folder / "batches.meta.txt", fixtures::from_text(names(9)));
  EXPECT_CONTAINS(opening(), "batches.meta.txt: holds 9 class names, but CIFAR-10 has 10");
}

// Files of scripts/make_cifar_golden.py; the pixels are those of records().
const std::filesystem::path kPickles =
    std::filesystem::path(DDPM_SOURCE_DIR) / "tests" / "golden" / "cifar";

torch::Tensor golden_image(int64_t i) {
  return (torch::arange(3072) + 7 * i).remainder(256).to(torch::kUInt8).view({3, 32, 32});
}

TEST(CifarPickles, AreReadAsPython2WroteThem) {
  const auto set = open_cifar(kPickles / "python2", {});
  ASSERT_EQ(set->size(), 3);
  EXPECT_EQ(set->class_names()[9], "name9");
  const std::vector<int64_t> labels{9, 0, 3};
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(set->get(i).label, labels[i]);
    EXPECT_TRUE(torch::equal(set->get(i).image, golden_image(i))) << i;
  }
}

TEST(CifarPickles, AreReadAsPython3WritesThem) {
  const auto set = open_cifar(kPickles / "python3", {});
  ASSERT_EQ(set->size(), 2);
  EXPECT_EQ(set->class_count(), 100);
  EXPECT_EQ(set->get(0).label, 99);
  EXPECT_EQ(set->class_names()[42], "fine42");
  EXPECT_TRUE(torch::equal(set->get(1).image, golden_image(1)));
}

// A changed byte is another picture, label or name, or an error that names the file.
TEST(CifarPickles, SurviveEveryChangedByte) {
  const TemporaryFolder folder;
  const std::vector<uint8_t> whole = io::read_file(kPickles / "python2" / "data_batch_1");
  int refused = 0;
  for (size_t i = 0; i < whole.size(); i += i < 300 ? 1 : 29) {
    Bytes bytes(whole.begin(), whole.end());
    bytes[i] ^= 0x55;
    fixtures::write(folder / "data_batch_1", bytes);
    try {
      EXPECT_EQ(open_cifar(folder.path(), {})->size(), 2) << i;
    } catch (const IoError& error) {
      EXPECT_NE(std::string(error.what()).find("data_batch_1"), std::string::npos) << i;
      ++refused;
    }
  }
  EXPECT_GT(refused, 50);
}

TEST(CifarPickles, SayWhatIsWrong) {
  const auto error = [](const std::filesystem::path& folder) {
    return message_of<IoError>([&] { open_cifar(folder, {}); });
  };
  EXPECT_NE(error(kPickles / "foreign").find("no array of bytes [N, 3072]"), std::string::npos);
  const TemporaryFolder folder;
  const auto batch = [&](const Bytes& bytes) {
    fixtures::write(folder / "data_batch_1", bytes);
    return error(folder.path());
  };
  const std::vector<uint8_t> whole = io::read_file(kPickles / "python2" / "data_batch_1");
  const Bytes bytes(whole.begin(), whole.end());
  fixtures::write(folder / "data_batch_1", bytes);
  EXPECT_EQ(open_cifar(folder.path(), {})->class_names()[3], "3") << "without batches.meta";
  EXPECT_NE(batch(Bytes(bytes.begin(), bytes.begin() + 3000)).find("cut short"), std::string::npos);
  EXPECT_NE(batch(fixtures::from_text("\x80\x02}.")).find("has no \"data\""), std::string::npos);
  EXPECT_NE(batch(fixtures::from_text("<!DOCTYPE html>")), "");
  // The labels 9 and 0 are "K\x09K\x00".
  Bytes other = bytes;
  const auto at = std::search(other.begin(), other.end(), "K\x09K", "K\x09K" + 3);
  ASSERT_NE(at, other.end());
  at[1] = 10;
  EXPECT_NE(batch(other).find("a label is not in 0..9"), std::string::npos);
}

}  // namespace
}  // namespace ddpm::data
