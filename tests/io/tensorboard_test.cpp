#include "ddpm/io/tensorboard.h"

#include "ddpm/base/error.h"
#include "ddpm/io/checksum.h"
#include "ddpm/io/image.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <bit>
#include <ctime>
#include <map>
#include <variant>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <unistd.h>

namespace ddpm::io {
namespace {

using fixtures::Bytes;

// A reader of its own for TFRecord framing and protocol-buffer fields, written from the formats'
// descriptions.

uint64_t little_endian(const Bytes& bytes, size_t at, int size) {
  uint64_t value = 0;
  for (int i = size - 1; i >= 0; --i) value = value << 8 | bytes.at(at + i);
  return value;
}

uint32_t unmasked(uint64_t masked) {
  const uint32_t rotated = static_cast<uint32_t>(masked) - 0xA282EAD8u;
  return rotated >> 17 | rotated << 15;
}

std::vector<Bytes> records_of(const Bytes& file) {
  std::vector<Bytes> records;
  for (size_t at = 0; at < file.size();) {
    const size_t length = little_endian(file, at, 8);
    EXPECT_EQ(crc32c({&file[at], 8}), unmasked(little_endian(file, at + 8, 4)));
    const Bytes record(file.begin() + at + 12, file.begin() + at + 12 + length);
    EXPECT_EQ(crc32c(record), unmasked(little_endian(file, at + 12 + length, 4)));
    records.push_back(record);
    at += 16 + length;
  }
  return records;
}

using Field = std::variant<uint64_t, Bytes>;

std::map<int, Field> fields_of(const Bytes& message) {
  std::map<int, Field> fields;
  size_t at = 0;
  const auto varint = [&] {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const uint8_t byte = message.at(at++);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.size()) {
    const uint64_t key = varint();
    const int type = static_cast<int>(key & 7);
    if (type == 0) {
      fields[static_cast<int>(key >> 3)] = varint();
    } else if (type == 2) {
      const size_t length = varint();
      fields[static_cast<int>(key >> 3)] =
          Bytes(message.begin() + at, message.begin() + at + length);
      at += length;
    } else {
      const int size = type == 1 ? 8 : 4;
      fields[static_cast<int>(key >> 3)] = little_endian(message, at, size);
      at += size;
    }
  }
  return fields;
}

std::string text(const Field& field) {
  const Bytes& bytes = std::get<Bytes>(field);
  return {bytes.begin(), bytes.end()};
}

std::map<int, Field> value_of(std::map<int, Field>& event) {
  std::map<int, Field> summary = fields_of(std::get<Bytes>(event.at(5)));
  return fields_of(std::get<Bytes>(summary.at(1)));
}

TEST(EventWriter, BeginsWithTheFileVersion) {
  const TemporaryFolder folder;
  const EventWriter writer(folder / "tb");
  const std::vector<Bytes> records = records_of(fixtures::read(writer.path()));
  ASSERT_EQ(records.size(), 1u);
  std::map<int, Field> event = fields_of(records[0]);
  EXPECT_EQ(text(event.at(3)), "brain.Event:2");
  EXPECT_NEAR(std::bit_cast<double>(std::get<uint64_t>(event.at(1))),
              static_cast<double>(std::time(nullptr)), 60.0);
  EXPECT_TRUE(writer.path().filename().string().starts_with("events.out.tfevents."));
}

TEST(EventWriter, WritesScalarsWithTheirSteps) {
  const TemporaryFolder folder;
  EventWriter writer(folder.path());
  writer.scalar("loss", 0, 0.25);
  writer.scalar("loss", 300, -1.5e-3);  // a step and a length that need two bytes as varints
  writer.scalar(std::string(200, 'x'), int64_t{1} << 40, 1.0);
  writer.flush();
  const std::vector<Bytes> records = records_of(fixtures::read(writer.path()));
  ASSERT_EQ(records.size(), 4u);
  const std::vector<int64_t> steps = {0, 300, int64_t{1} << 40};
  const std::vector<float> values = {0.25f, -1.5e-3f, 1.0f};
  for (size_t i = 0; i < 3; ++i) {
    std::map<int, Field> event = fields_of(records[i + 1]);
    EXPECT_EQ(std::get<uint64_t>(event.at(2)), static_cast<uint64_t>(steps[i]));
    std::map<int, Field> value = value_of(event);
    EXPECT_EQ(text(value.at(1)), i < 2 ? "loss" : std::string(200, 'x'));
    EXPECT_EQ(std::bit_cast<float>(static_cast<uint32_t>(std::get<uint64_t>(value.at(2)))),
              values[i]);
  }
}

TEST(EventWriter, WritesImagesAsPng) {
  const TemporaryFolder folder;
  EventWriter writer(folder.path());
  const torch::Tensor picture = torch::arange(3 * 5 * 7, torch::kUInt8).view({3, 5, 7});
  writer.image("samples", 12, picture);
  writer.flush();
  std::map<int, Field> event = fields_of(records_of(fixtures::read(writer.path())).at(1));
  EXPECT_EQ(std::get<uint64_t>(event.at(2)), 12u);
  std::map<int, Field> value = value_of(event);
  EXPECT_EQ(text(value.at(1)), "samples");
  std::map<int, Field> image = fields_of(std::get<Bytes>(value.at(4)));
  EXPECT_EQ(std::get<uint64_t>(image.at(1)), 5u);  // height
  EXPECT_EQ(std::get<uint64_t>(image.at(2)), 7u);  // width
  EXPECT_EQ(std::get<uint64_t>(image.at(3)), 3u);  // RGB
  EXPECT_TRUE(torch::equal(to_tensor(decode_image(std::get<Bytes>(image.at(4)), "png")), picture));
}

TEST(EventWriter, MarksTheStepItGoesOnFrom) {
  const TemporaryFolder folder;
  EventWriter writer(folder.path());
  writer.restart(40);
  writer.flush();
  std::map<int, Field> event = fields_of(records_of(fixtures::read(writer.path())).at(1));
  EXPECT_EQ(std::get<uint64_t>(event.at(2)), 40u);
  EXPECT_EQ(std::get<uint64_t>(fields_of(std::get<Bytes>(event.at(7))).at(1)), 1u);  // START
}

TEST(EventWriter, TwoWritersOfOneSecondKeepTwoFiles) {
  const TemporaryFolder folder;
  EventWriter first(folder.path()), second(folder.path());
  EXPECT_NE(first.path(), second.path());
}

TEST(EventWriter, NamesTheFolderItCannotMake) {
  const TemporaryFolder folder;
  fixtures::write(folder / "file", fixtures::from_text("x"));
  EXPECT_CONTAINS(
      fixtures::message_of<IoError>([&] { EventWriter writer(folder / "file" / "tb"); }),
      (folder / "file" / "tb").string());
}

TEST(EventWriter, ReportsAFullDisk) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const TemporaryFolder folder;
  EventWriter writer(folder.path());
  // The writer's descriptor now points to a device that is always full.
  const std::filesystem::path path = writer.path();
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    if (std::filesystem::read_symlink(entry.path(), error) != path) continue;
    const int full = open("/dev/full", O_WRONLY);
    dup2(full, std::stoi(entry.path().filename().string()));
    close(full);
  }
  writer.scalar("loss", 1, 1.0);
  EXPECT_CONTAINS(fixtures::message_of<IoError>([&] { writer.flush(); }),
                  path.string() + ": could not be written");
}

}  // namespace
}  // namespace ddpm::io
