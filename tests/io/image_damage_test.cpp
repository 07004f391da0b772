#include "ddpm/base/error.h"
#include "ddpm/io/image.h"
#include "tests/io/encoded_images.h"
#include "tests/io/fixtures.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <torch/types.h>
#include <zlib.h>

namespace ddpm::io {
namespace {

using fixtures::Bytes;
using fixtures::from_hex;
using fixtures::message_of;

TEST(Image, RefusesAJpegWhoseDataEndBeforeItsPixels) {
  const Bytes whole = from_hex(kNoiseJpeg);
  const size_t data = 623;  // where the entropy-coded data begin
  for (size_t size = data + 4; size < whole.size() - 6; size += 5) {
    Bytes half(whole.begin(), whole.begin() + size);
    half.insert(half.end(), {0xFF, 0xD9});
    EXPECT_NO_THROW(image_info(half, "half.jpg"));
    EXPECT_CONTAINS(message_of<IoError>([&] { decode_image(half, "half.jpg"); }),
                    "half.jpg: is not a readable JPEG: its data are damaged or end too early");
  }
}

Bytes png_of(uint32_t height, uint32_t width, const Bytes& idat) {
  Bytes png = from_hex("89504e470d0a1a0a");
  const auto put = [&](uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8)
      png.push_back(static_cast<uint8_t>(value >> shift));
  };
  const auto chunk = [&](const char* type, const Bytes& content) {
    put(static_cast<uint32_t>(content.size()));
    const size_t begin = png.size();
    png.insert(png.end(), type, type + 4);
    png.insert(png.end(), content.begin(), content.end());
    put(static_cast<uint32_t>(crc32(0, png.data() + begin, static_cast<uInt>(png.size() - begin))));
  };
  Bytes header;
  for (const uint32_t side : {width, height}) {
    for (int shift = 24; shift >= 0; shift -= 8)
      header.push_back(static_cast<uint8_t>(side >> shift));
  }
  header.insert(header.end(), {8, 0, 0, 0, 0});
  chunk("IHDR", header);
  chunk("IDAT", idat);
  chunk("IEND", {});
  return png;
}

Bytes deflated(const Bytes& content) {
  uLongf size = compressBound(content.size());
  Bytes packed(size);
  compress(packed.data(), &size, content.data(), content.size());
  packed.resize(size);
  return packed;
}

TEST(Image, RefusesMorePixelsThanAllowedBeforeItTakesMemoryForThem) {
  const Bytes none = deflated({0});  // the pixels are not even there
  const std::string message =
      message_of<IoError>([&] { decode_image(png_of(16000, 16000, none), "huge.png"); });
  EXPECT_EQ(message,
            "huge.png: has 16000 x 16000 pixels, more than the 128 megapixels that are allowed; "
            "scale it down or remove it");
  EXPECT_EQ(image_info(png_of(16000, 16000, none), "huge.png"), (ImageInfo{16000, 16000, 1}));
  const Bytes small = png_of(3, 4, deflated(Bytes(3 * 5, 0)));
  EXPECT_EQ(decoded(small).sizes(), (torch::IntArrayRef{1, 3, 4}));
  EXPECT_THROW(decode_image(small, "x.png", 0, 11), IoError);
}

TEST(Image, RefusesAPngThatUnpacksToMoreThanItsPixels) {
  const Bytes bomb = png_of(3, 4, deflated(Bytes(200'000'000, 0)));
  EXPECT_LT(bomb.size(), 300'000u);
  EXPECT_CONTAINS(message_of<IoError>([&] { decode_image(bomb, "bomb.png"); }),
                  "bomb.png: is not a readable image");
}

TEST(Image, CallsAForeignFileWhatItIs) {
  const auto error = [](const std::string& text, const std::string& name = "a.jpg") {
    return message_of<IoError>([&] { decode_image(fixtures::from_text(text), name); });
  };
  EXPECT_CONTAINS(error("\n<!DOCTYPE html><html>404"), "a.jpg: is a web page, not the file itself");
  EXPECT_CONTAINS(error("<HTML><body>"), "is a web page, not");
  EXPECT_CONTAINS(error("GIF89a, a text"), "is a GIF image; convert it to PNG, JPEG or WebP");
  EXPECT_CONTAINS(error("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n"),
                  "is a Git LFS pointer, not the file itself; fetch it with: git lfs pull");
  EXPECT_CONTAINS(error(std::string("\0\0\0\x18"
                                    "ftypheic",
                                    12)),
                  "is a HEIC image");
  EXPECT_CONTAINS(error("<!DOCTYPE html>", "a.tga"), "is a web page, not");
  EXPECT_CONTAINS(error("PK\3\4"), "is a zip archive; unpack it");
  EXPECT_CONTAINS(error("some text"), "is not a PNG, JPEG, WebP, BMP");
}

TEST(Image, NoProperPrefixOfAnImageIsAnImage) {
  const std::vector<std::pair<const char*, std::string>> files = {
      {kPng, "a.png"}, {kBmp, "a.bmp"}, {kPpm, "a.ppm"}, {kJpeg, "a.jpg"}, {kPalettePng, "b.png"}};
  for (const auto& [hex, name] : files) {
    const Bytes whole = from_hex(hex);
    for (size_t size = 0; size < whole.size(); ++size) {
      EXPECT_THROW(decode_image({whole.data(), size}, name), IoError)
          << name << " cut to " << size << " bytes";
    }
  }
}

TEST(Image, SaysWhichFileIsCutShort) {
  Bytes bytes = from_hex(kPng);
  bytes.resize(60);
  const std::string message = message_of<IoError>([&] { decode_image(bytes, "folder/a.png"); });
  EXPECT_CONTAINS(message, "folder/a.png: is not a readable image: it is cut short (truncated");
  EXPECT_CONTAINS(message_of<IoError>([] { decode_image({}, "b.png"); }), "b.png: is empty");
  EXPECT_CONTAINS(message_of<IoError>([] { decode_image(fixtures::from_text("a text"), "c.png"); }),
                  "c.png: is not a PNG, JPEG, WebP, BMP");
}

TEST(Image, FindsAFlippedBitInAPng) {
  Bytes bytes = from_hex(kPng);
  bytes[45] ^= 4;  // in the pixel data
  EXPECT_CONTAINS(message_of<IoError>([&] { decode_image(bytes, "a.png"); }), "fails its checksum");
}

TEST(Image, RefusesHuffmanTablesThatAreTooLongOrCutShort) {
  const Bytes whole = from_hex(kJpeg), marker = {0xFF, 0xC4};
  const auto at =
      std::search(whole.begin(), whole.end(), marker.begin(), marker.end()) - whole.begin();
  ASSERT_LT(at + 21u, whole.size());
  Bytes too_long = whole, cut_short = whole;
  std::fill_n(too_long.begin() + at + 5, 16, 0xFF);  // the counts, behind marker, length and class
  cut_short[at + 3] = 2 + 16;                        // the segment's length: one count is missing
  for (const Bytes& bytes : {too_long, cut_short}) {
    EXPECT_CONTAINS(message_of<IoError>([&] { image_info(bytes, "a.jpg"); }),
                    "a.jpg: is not a readable image: its header is damaged");
    EXPECT_THROW(decode_image(bytes, "a.jpg"), IoError);
  }
}

TEST(ImageHeader, NumbersOfAPnmThatOverflowAreNone) {
  for (const std::string text :
       {"P5 4294967297 1 255\nx", "P5\n#\r4294967297 1 255\nx", "P6 1 4294967297 255\nx"}) {
    const Bytes bytes(text.begin(), text.end());
    EXPECT_FALSE(image_header(bytes, "x")) << text;
    EXPECT_THROW(image_info(bytes, "x"), IoError) << text;
  }
}

}  // namespace
}  // namespace ddpm::io
