#include "ddpm/base/error.h"
#include "ddpm/io/image.h"
#include "tests/io/encoded_images.h"
#include "tests/io/fixtures.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::io {
namespace {

using fixtures::Bytes;
using fixtures::from_hex;

Bytes with_orientation(const Bytes& jpeg, int value, bool little = true) {
  const Bytes exif = from_hex(little ? "ffe10022"
                                       "457869660000"
                                       "49492a0008000000"
                                       "0100"
                                       "1201030001000000"
                                       "00000000"
                                       "00000000"
                                     : "ffe10022"
                                       "457869660000"
                                       "4d4d002a00000008"
                                       "0001"
                                       "0112000300000001"
                                       "00000000"
                                       "00000000");
  Bytes bytes(jpeg.begin(), jpeg.begin() + 2);
  bytes.insert(bytes.end(), exif.begin(), exif.end());
  bytes[2 + 28 + (little ? 0 : 1)] = static_cast<uint8_t>(value);
  bytes.insert(bytes.end(), jpeg.begin() + 2, jpeg.end());
  return bytes;
}

TEST(Image, TurnsAJpegAsItsExifOrientationSays) {
  const torch::Tensor stored = decoded(from_hex(kJpeg));
  const torch::Tensor transposed = stored.transpose(1, 2);
  const std::vector<torch::Tensor> expected = {
      stored,                   // 1: top, left
      stored.flip({2}),         // 2: top, right
      stored.flip({1, 2}),      // 3: bottom, right
      stored.flip({1}),         // 4: bottom, left
      transposed,               // 5: left, top
      transposed.flip({2}),     // 6: right, top
      transposed.flip({1, 2}),  // 7: right, bottom
      transposed.flip({1}),     // 8: left, bottom
  };
  for (int value = 1; value <= 8; ++value) {
    for (const bool little : {true, false}) {
      const Bytes bytes = with_orientation(from_hex(kJpeg), value, little);
      EXPECT_TRUE(torch::equal(decoded(bytes), expected[value - 1])) << "orientation " << value;
      for (const auto& info : {image_info(bytes, "x"), *image_header(bytes, "x")}) {
        EXPECT_EQ(info.height, value < 5 ? 8 : 16);
        EXPECT_EQ(info.width, value < 5 ? 16 : 8);
      }
    }
  }
  for (const int value : {0, 9, 255})
    EXPECT_TRUE(torch::equal(decoded(with_orientation(from_hex(kJpeg), value)), stored));
}

TEST(Image, ExifBlocksOfAnyContentAreHarmless) {
  const Bytes whole = with_orientation(from_hex(kJpeg), 6);
  uint32_t state = 1;
  const auto random = [&] { return (state = state * 1664525u + 1013904223u) >> 16; };
  int decoded_images = 0;
  for (int round = 0; round < 4000; ++round) {
    Bytes bytes = whole;
    for (uint32_t i = 0; i < 1 + random() % 6; ++i) {
      bytes[4 + random() % 36] = static_cast<uint8_t>(random());
    }
    try {
      decoded_images += decoded(bytes).numel() == 3 * 8 * 16;
    } catch (const IoError&) {
    }
    image_header({bytes.data(), random() % bytes.size()}, "x.jpg");
  }
  EXPECT_GT(decoded_images, 3000);  // few of them hit the segment's length
}

}  // namespace
}  // namespace ddpm::io
