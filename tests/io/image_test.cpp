#include "ddpm/io/image.h"

#include "ddpm/base/error.h"
#include "tests/io/encoded_images.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <atomic>
#include <cmath>
#include <filesystem>
#include <limits>
#include <thread>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::io {
namespace {

using fixtures::Bytes;
using fixtures::from_hex;
using fixtures::message_of;

TEST(Image, DecodesWhatPillowWroteInFourFormats) {
  for (const char* hex : {kPng, kBmp, kPpm})
    EXPECT_TRUE(torch::equal(decoded(from_hex(hex)), sevens()));
  EXPECT_TRUE(torch::equal(decoded(from_hex(kTga), 0, "x.TGA"), sevens()));
  const ImageInfo info = image_info(from_hex(kPng), "x");
  EXPECT_EQ(info.height, 3);
  EXPECT_EQ(info.width, 4);
  EXPECT_EQ(info.channels, 3);
}

TEST(Image, DecodesPaletteSixteenBitAndAlpha) {
  const torch::Tensor palette = decoded(from_hex(kPalettePng));
  EXPECT_TRUE(
      torch::equal(palette.select(2, 2).select(1, 0), torch::tensor({10, 20, 30}, torch::kUInt8)));
  EXPECT_TRUE(
      torch::equal(decoded(from_hex(kPng16)).flatten(), torch::tensor({0, 1, 255}, torch::kUInt8)));
  EXPECT_TRUE(torch::equal(decoded(from_hex(kGreyAlphaPng)),
                           torch::tensor({{10, 200}, {255, 0}}, torch::kUInt8).view({2, 1, 2})));
  EXPECT_TRUE(torch::equal(decoded(from_hex(kGreyAlphaPng), 1).flatten(),
                           torch::tensor({10, 200}, torch::kUInt8)));
  EXPECT_EQ(image_info(from_hex(kGreyAlphaPng), "x").channels, 2);
}

TEST(Image, RoundsSixteenBitsToTheNearestOfEight) {
  const torch::Tensor image = decoded(from_hex(kDeepPng)).squeeze(1).t().flatten();
  ASSERT_EQ(image.size(0), 12);
  for (size_t i = 0; i < kDeep.size(); ++i) {
    EXPECT_EQ(image[static_cast<int64_t>(i)].item<int>(), std::lround(kDeep[i] / 257.0))
        << kDeep[i];
  }
  EXPECT_EQ(decoded(from_hex(kDeepPng), 4)[3].min().item<int>(), 255);
}

// Pillow (libjpeg) gives (0,0,254), (128,95,166) and (240,224,77) at these places; decoders may
// round the inverse DCT and the colour transform differently, by 1 each, so 3 in all.
TEST(Image, DecodesJpegAsLibjpegDoes) {
  const torch::Tensor image = decoded(from_hex(kJpeg)).to(torch::kInt);
  const auto expect_near = [&](int y, int x, std::vector<int> rgb) {
    for (int c = 0; c < 3; ++c) EXPECT_NEAR(image[c][y][x].item<int>(), rgb[c], 3);
  };
  EXPECT_EQ(image.sizes(), (torch::IntArrayRef{3, 8, 16}));
  expect_near(0, 0, {0, 0, 254});
  expect_near(3, 8, {128, 95, 166});
  expect_near(7, 15, {240, 224, 77});
}

// The same values as Pillow's, which uses the same library.
TEST(Image, DecodesJpegAsPillowDoes) {
  const torch::Tensor image = decoded(from_hex(kNoiseJpeg)).to(torch::kInt);
  const std::vector<std::pair<std::pair<int, int>, std::vector<int>>> known = {
      {{0, 0}, {102, 86, 125}}, {{12, 7}, {117, 118, 104}}, {{23, 23}, {79, 79, 105}}};
  for (const auto& [place, rgb] : known) {
    for (int c = 0; c < 3; ++c)
      EXPECT_EQ(image[c][place.first][place.second].item<int>(), rgb[c]) << place.first;
  }
  EXPECT_EQ(image.sum().item<int64_t>(), 214906);
  const torch::Tensor cmyk = decoded(from_hex(kCmykJpeg));
  EXPECT_EQ(cmyk.sizes(), (torch::IntArrayRef{3, 8, 8}));
  for (const auto& [c, value] : {std::pair{0, 46}, {1, 190}, {2, 164}})
    EXPECT_TRUE((cmyk[c] == value).all().item<bool>());
}

// Decoders fill such a picture up with grey and say nothing.
TEST(Image, DecodesWebp) {
  EXPECT_TRUE(torch::equal(decoded(from_hex(kWebp)), sevens()));
  EXPECT_TRUE(torch::equal(decoded(from_hex(kWebp), 1), decoded(from_hex(kPng), 1)));
  EXPECT_TRUE(torch::equal(decoded(from_hex(kTurnedWebp)), sevens().transpose(1, 2).flip({2})));
  const ImageInfo info = image_info(from_hex(kTurnedWebp), "x");
  EXPECT_EQ(info, (ImageInfo{4, 3, 3}));
  const Bytes whole = from_hex(kWebp);
  EXPECT_EQ(image_header({whole.data(), 40}, "x"), (ImageInfo{3, 4, 3}));
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_THROW(decode_image({whole.data(), size}, "a.webp"), IoError) << size;
  EXPECT_CONTAINS(message_of<IoError>([] { decode_image(from_hex(kAnimatedWebp), "a.webp"); }),
                  "a.webp: is an animated WebP; convert it to single images");
}

// A PNG of one channel whose data are the zlib stream `idat`.
// 200 kB that unpack to 200 MB, for a picture of 12 pixels.
TEST(Image, SaysWhichHas16BitsPerChannel) {
  EXPECT_TRUE(image_info(from_hex(kDeepPng), "x").deep);
  EXPECT_TRUE(image_header(from_hex(kPng16), "x")->deep);
  for (const char* hex : {kPng, kBmp, kJpeg, kWebp})
    EXPECT_FALSE(image_info(from_hex(hex), "x").deep);
}

// stb_image decodes what is written here.
TEST(Image, Of16BitsIsReadAsItWasWritten) {
  for (int64_t channels = 1; channels <= 4; ++channels) {
    torch::manual_seed(channels);
    const torch::Tensor noise = torch::randint(0, 65536, {channels, 9, 7}, torch::kInt);
    const torch::Tensor ramp =
        torch::arange(channels * 63, torch::kInt).view({channels, 9, 7}) * 200;
    for (const torch::Tensor& pixels : {noise, ramp}) {
      const Bytes png = encode_png(pixels);
      EXPECT_EQ(image_info(png, "x"), (ImageInfo{9, 7, channels, true}));
      const torch::Tensor levels = decode_levels(png, "x");
      ASSERT_EQ(levels.scalar_type(), torch::kFloat);
      EXPECT_TRUE(levels.mul(257).round().to(torch::kInt).equal(pixels));
      EXPECT_TRUE(decoded(png).equal(levels.round().to(torch::kByte)));
    }
  }
  EXPECT_TRUE(decode_levels(from_hex(kPng), "x").equal(sevens()));  // 8 bits stay bytes
  // Written by Pillow: 16 bits of grey.
  EXPECT_TRUE(decode_levels(from_hex(kPng16), "x")
                  .round()
                  .to(torch::kByte)
                  .equal(torch::tensor({0, 1, 255}, torch::kByte).view({1, 1, 3})));
  EXPECT_EQ(decode_levels(from_hex(kPng16), "x", 3).sizes(), (torch::IntArrayRef{3, 1, 3}));
  EXPECT_CONTAINS(message_of<IoError>([] { decode_levels(from_hex(kPng16), "x.png", 0, 2); }),
                  "x.png: has 1 x 3 pixels, more than");
}

TEST(Image, ConvertsChannels) {
  EXPECT_TRUE(torch::equal(decoded(from_hex(kPng16), 3),
                           torch::tensor({0, 1, 255}, torch::kUInt8).expand({3, 1, 3})));
  const torch::Tensor rgba = decoded(from_hex(kPng), 4);
  EXPECT_TRUE(torch::equal(rgba.slice(0, 0, 3), sevens()));
  EXPECT_TRUE((rgba[3] == 255).all().item<bool>());
  // ITU-R BT.601 luma; stb_image's 8-bit weights are each within 0.002 of it and it rounds down: 2
  // in all.
  const torch::Tensor weights = torch::tensor({0.299, 0.587, 0.114}).view({3, 1, 1});
  const torch::Tensor luma = (sevens().to(torch::kFloat) * weights).sum(0, true);
  EXPECT_LE((decoded(from_hex(kPng), 1).to(torch::kFloat) - luma).abs().max().item<float>(), 2.0f);
}

// A JPEG with an EXIF block of one entry, in either byte order.
// EXIF 2.3, tag 0x0112: which side of the picture the first row and the first column show.
// Any damage to the EXIF block leaves a picture that is turned in some way, or an IoError.
TEST(Image, HeaderNeedsOnlyTheBeginning) {
  for (const auto& [hex, beginning] :
       {std::pair{kPng, 33}, {kBmp, 54}, {kPpm, 12}, {kJpeg, 295}, {kGreyAlphaPng, 33}}) {
    const Bytes whole = from_hex(hex);
    const ImageInfo expected = image_info(whole, "x");
    const auto info = image_header({whole.data(), static_cast<size_t>(beginning)}, "x");
    ASSERT_TRUE(info.has_value());
    EXPECT_EQ(info->height, expected.height);
    EXPECT_EQ(info->width, expected.width);
    EXPECT_EQ(info->channels, expected.channels);
    EXPECT_FALSE(image_header({whole.data(), 4}, "x").has_value());
  }
  EXPECT_FALSE(image_header(fixtures::from_text("GIF89a, a text"), "x").has_value());
}

// Decoders have written beyond their arrays for such tables.
TEST(Image, PngRoundTripIsExact) {
  const TemporaryFolder folder;
  for (const int64_t channels : {1, 2, 3, 4}) {
    const torch::Tensor image =
        torch::arange(channels * 13 * 9).mul(37).remainder(256).to(torch::kUInt8);
    const torch::Tensor chw = image.view({channels, 13, 9});
    write_png(folder / "x.png", chw);
    EXPECT_TRUE(torch::equal(decoded(fixtures::read(folder / "x.png")), chw))
        << channels << " channels";
  }
}

TEST(Image, WritesTensorsOfAnyLayout) {
  const torch::Tensor strided = sevens().flip({2}).transpose(1, 2);
  EXPECT_FALSE(strided.is_contiguous());
  EXPECT_TRUE(torch::equal(decoded(encode_png(strided)), strided));
}

TEST(Image, WritePngNamesThePath) {
  EXPECT_CONTAINS(message_of<IoError>([] { write_png("/no/such/folder/x.png", sevens()); }),
                  "/no/such/folder/x.png: cannot open: No such file or directory");
  if (std::filesystem::exists("/dev/full")) {
    EXPECT_CONTAINS(message_of<IoError>([] { write_png("/dev/full", sevens()); }),
                    "/dev/full: cannot write: No space left on device");
    EXPECT_TRUE(std::filesystem::is_character_file("/dev/full")) << "written to, not replaced";
  }
}

TEST(Image, ManyThreadsDecodeAtOnce) {
  const Bytes jpeg = from_hex(kJpeg), broken = Bytes(jpeg.begin(), jpeg.begin() + 300);
  const torch::Tensor expected = decoded(jpeg);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        wrong += !torch::equal(decoded(jpeg), expected);
        try {
          decode_image(broken, "broken");
          ++wrong;
        } catch (const IoError&) {
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

// 2^32 + 1 is 1 in 32 bits; a comment ends at a carriage return too, as stb_image reads it.
// A program that links LibTorch before libstdc++ crashes in std::filesystem.

}  // namespace
}  // namespace ddpm::io
