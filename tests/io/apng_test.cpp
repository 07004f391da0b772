#include "ddpm/io/bytes.h"
#include "ddpm/io/image.h"
#include "ddpm/io/png.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <torch/types.h>
#include <zlib.h>

namespace ddpm::io::apng_test {
namespace {

using Bytes = std::vector<uint8_t>;

struct Chunk {
  std::string type;
  Bytes data;
  /// The number in `count` bytes from `at` on.
  uint64_t number(size_t at, size_t count) const {
    uint64_t value = 0;
    for (size_t i = 0; i < count; ++i) value = value << 8 | data.at(at + i);
    return value;
  }
};

/// The chunks of a PNG; checks the signature, every length and every CRC.
std::vector<Chunk> chunks_of(const Bytes& png) {
  const Bytes signature{0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  EXPECT_TRUE(begins_with(png, signature));
  std::vector<Chunk> chunks;
  size_t at = signature.size();
  while (at < png.size()) {
    const std::span<const uint8_t> rest = std::span(png).subspan(at);
    const uint64_t size = big_endian(rest.first<4>());
    EXPECT_LE(size + 12, rest.size());
    const auto checked = rest.subspan(4, size + 4);
    EXPECT_EQ(big_endian(rest.subspan(8 + size).first<4>()),
              ::crc32(0, checked.data(), static_cast<uInt>(checked.size())));
    chunks.push_back(
        {std::string(text_of(checked.first(4))), {checked.begin() + 4, checked.end()}});
    at += size + 12;
  }
  return chunks;
}

std::vector<std::string> types_of(const std::vector<Chunk>& chunks) {
  std::vector<std::string> types;
  for (const Chunk& chunk : chunks) types.push_back(chunk.type);
  return types;
}

/// The image whose zlib stream a chunk holds from byte `skip` on, as stb decodes it with this header.
torch::Tensor decoded(const Chunk& header, const Chunk& pixels, size_t skip) {
  const auto append_number = [](Bytes& out, uint64_t value) {
    for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<uint8_t>(value >> shift));
  };
  Bytes png{0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  for (const Chunk& chunk :
       {header,
        Chunk{"IDAT", {pixels.data.begin() + static_cast<std::ptrdiff_t>(skip), pixels.data.end()}},
        Chunk{"IEND", {}}}) {
    append_number(png, chunk.data.size());
    Bytes checked(chunk.type.begin(), chunk.type.end());
    checked.insert(checked.end(), chunk.data.begin(), chunk.data.end());
    png.insert(png.end(), checked.begin(), checked.end());
    append_number(png, ::crc32(0, checked.data(), static_cast<uInt>(checked.size())));
  }
  return to_tensor(decode_image(png, "frame"));
}

torch::Tensor frames(int64_t count, int64_t channels) {
  return torch::arange(count * channels * 5 * 7)
      .remainder(251)
      .to(torch::kUInt8)
      .view({count, channels, 5, 7});
}

TEST(Apng, ChunksStandInTheOrderOfTheSpecification) {
  const auto first = chunks_of(encode_apng(frames(3, 3), {0.1, 0.25, 2}));
  EXPECT_EQ(types_of(first), (std::vector<std::string>{"IHDR", "acTL", "fcTL", "IDAT", "fcTL",
                                                       "fdAT", "fcTL", "fdAT", "IEND"}));
  const auto still = chunks_of(encode_apng(frames(2, 3), {0, 65}, frames(1, 3)[0]));
  EXPECT_EQ(types_of(still), (std::vector<std::string>{"IHDR", "acTL", "IDAT", "fcTL", "fdAT",
                                                       "fcTL", "fdAT", "IEND"}));
  for (const auto& chunks : {first, still}) {
    const Chunk& header = chunks[0];
    EXPECT_EQ(header.number(0, 4), 7u);
    EXPECT_EQ(header.number(4, 4), 5u);
    const Chunk& control = chunks[1];
    EXPECT_EQ(control.data.size(), 8u);
    EXPECT_EQ(control.number(0, 4), chunks.size() == 9 ? 3u : 2u) << "frames";
    EXPECT_EQ(control.number(4, 4), 0u) << "without end";
    uint64_t sequence = 0;  // one count for fcTL and fdAT
    for (const Chunk& chunk : chunks) {
      if (chunk.type == "fcTL" || chunk.type == "fdAT") {
        EXPECT_EQ(chunk.number(0, 4), sequence++);
      }
    }
  }
}

TEST(Apng, EachFrameFillsTheImageForItsTime) {
  std::vector<double> seconds;
  for (const Chunk& chunk : chunks_of(encode_apng(frames(3, 1), {0.1, 0.25, 65}))) {
    if (chunk.type != "fcTL") continue;
    ASSERT_EQ(chunk.data.size(), 26u);
    EXPECT_EQ(chunk.number(4, 4), 7u) << "width";
    EXPECT_EQ(chunk.number(8, 4), 5u) << "height";
    EXPECT_EQ(chunk.number(12, 8), 0u) << "offset";
    seconds.push_back(static_cast<double>(chunk.number(20, 2)) /
                      static_cast<double>(chunk.number(22, 2)));
    EXPECT_EQ(chunk.number(24, 2), 0u) << "replaces the former frame";
  }
  EXPECT_EQ(seconds, (std::vector<double>{0.1, 0.25, 65}));
}

TEST(Apng, FramesAndTheStillImageAreKept) {
  for (int64_t channels = 1; channels <= 4; ++channels) {
    const torch::Tensor images = frames(4, channels);
    const Bytes plain = encode_apng(images, {1, 1, 1, 1});
    EXPECT_TRUE(to_tensor(decode_image(plain, "plain")).equal(images[0]));
    const Bytes png = encode_apng(images.narrow(0, 1, 3), {1, 1, 1}, images[0]);
    EXPECT_TRUE(to_tensor(decode_image(png, "still")).equal(images[0]));
    for (const Bytes& bytes : {plain, png}) {
      const auto chunks = chunks_of(bytes);
      int64_t frame = 1;
      for (const Chunk& chunk : chunks) {
        if (chunk.type != "fdAT") continue;
        EXPECT_TRUE(decoded(chunks[0], chunk, 4).equal(images[frame++])) << channels;
      }
      EXPECT_EQ(frame, 4);
    }
  }
}

TEST(Apng, AWrongCallIsRefused) {
  EXPECT_THROW(encode_apng(frames(2, 3), {1}), c10::Error);
  EXPECT_THROW(encode_apng(frames(1, 3), {66}), c10::Error);
  EXPECT_THROW(encode_apng(frames(1, 3), {1}, frames(1, 1)[0]), c10::Error);
}

}  // namespace
}  // namespace ddpm::io::apng_test
