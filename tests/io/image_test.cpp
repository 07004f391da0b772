#include "ddpm/io/image.h"

#include "ddpm/base/error.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include <gtest/gtest.h>
#include <torch/types.h>
#include <zlib.h>

namespace ddpm::io {
namespace {

using fixtures::Bytes;
using fixtures::from_hex;
using fixtures::message_of;

// Written by Pillow 11. The first four hold the same 4x3 picture: values 0, 7, 14, ... in the order
// y, x, RGB.
const char* const kPng =
    "89504e470d0a1a0a0000000d49484452000000040000000308020000003b9639910000001a49444154789c636460e7"
    "13850196909010"
    "388771c5fa6d700e0059bd055c6dc414d20000000049454e44ae426082";
const char* const kBmp =
    "424d5a0000000000000036000000280000000400000003000000010018000000000024000000c40e0000c40e000000"
    "00000000000000"
    "b6afa8cbc4bde0d9d2f5eee7625b547770698c857ea19a930e0700231c1538312a4d463f";
const char* const kTga =
    "000002000000000000000000040003001800b6afa8cbc4bde0d9d2f5eee7625b547770698c857ea19a930e0700231c"
    "1538312a4d463f"
    "000000000000000054525545564953494f4e2d5846494c452e00";
const char* const kPpm =
    "50360a3420330a3235350a00070e151c232a31383f464d545b626970777e858c939aa1a8afb6bdc4cbd2d9e0e7eef"
    "5";
// 3x2 of a palette: red, green, (10,20,30); then the same backwards.
const char* const kPalettePng =
    "89504e470d0a1a0a0000000d4948445200000003000000020203000000e01a8e8900000009504c5445ff000000ff00"
    "0a141ed97e4de7"
    "0000000c49444154789c63906098000000dc00a96ce7c0230000000049454e44ae426082";
// 3x1 of 16 bits: 0, 256, 65535.
const char* const kPng16 =
    "89504e470d0a1a0a0000000d49484452000000030000000110000000006e1b972b0000000f49444154789c63606060"
    "64f8ff1f000308"
    "02004170900d0000000049454e44ae426082";
// Written with Python's zlib: 4x1 RGB of 16 bits, kDeep.
const char* const kDeepPng =
    "89504e470d0a1a0a0000000d494844520000000400000001100200000026ce44d90000001f49444154789c0dc4c101"
    "00000403b1ebe28ac54b1e0130cd10a1d13aa97c07519e09fd7dd875bf0000000049454e44ae426082";
const std::vector<int> kDeep = {0, 127, 128, 129, 255, 256, 385, 386, 32767, 65406, 65407, 65535};
// 2x1 grey with alpha: (10, 255), (200, 0).
const char* const kGreyAlphaPng =
    "89504e470d0a1a0a0000000d49484452000000020000000108040000005e2bb7010000000d49444154789c63e0fa7f"
    "82010004ba01d2"
    "a1115fa80000000049454e44ae426082";
// 16x8 of smooth colours, baseline, quality 95.
const char* const kJpeg =
    "ffd8ffe000104a46494600010100000100010000ffdb00430002010101010102010101020202020204030202"
    "02020504040304060506060605060606070908060709070606080b08090a0a0a0a0a06080b0c0b0a0c090a0a"
    "0affdb004301020202020202050303050a0706070a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
    "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0affc000110800080010030111000211010311"
    "01ffc40014000100000000000000000000000000000007ffc4001b1000010403000000000000000000000000"
    "1100060721091343ffc4001501010100000000000000000000000000000809ffc4001c110001030500000000"
    "00000000000000000007233206084151a1ffda000c03010002110311003f00248e31727596ed5724d4af6e16"
    "6f7439a60ba41dd647c8e31727596ed572428af6e166f74a2a982e9077593fffd9";

// Written by Pillow 13, lossless: the 4x3 picture; the same with EXIF orientation 6; an animation.
const char* const kWebp =
    "5249464634000000574542505650384c270000002f038000005f20164cce11e46f1bc354dca162fe13db8120804421"
    "96"
    "58669965964923fa1f98ee00";
const char* const kTurnedWebp =
    "524946466800000057454250565038580a000000080000000300000200005650384c270000002f038000005f20164c"
    "ce"
    "11e46f1bc354dca162fe13db81208044219658669965964923fa1f98ee00455849461a0000004d4d002a0000000800"
    "01"
    "01120003000000010006000000000000";
const char* const kAnimatedWebp =
    "52494646c200000057454250565038580a00000012000000030000020000414e494d06000000000000000000414e4d"
    "46"
    "40000000000000000000030000020000000000025650384c270000002f038000005f20164cce11e46f1bc354dca162"
    "fe"
    "13db81208044219658669965964923fa1f98ee00414e4d464e00000000000000000003000002000000000000565038"
    "4c"
    "350000002f038000104740986d9cdaef080a790281142f11e484d9c6a911dcaf9037ff51590b00ff000084d9c6b9a9"
    "8c"
    "652cc77211fd8f1d0c00";
// 24x24 of noise, quality 30, written by Pillow 13.
const char* const kNoiseJpeg =
    "ffd8ffe000104a46494600010100000100010000ffdb0043001b12141714111b1716171e1c1b2028422b2825252851"
    "3a3d3042605565645f555d5b6a7899816a7190735b5d85b586909ea3abadab6780bcc9baa6c799a8aba4ffdb004301"
    "1c1e1e2823284e2b2b4ea46e5d6ea4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4"
    "a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4ffc00011080018001803012200021101031101ffc4001f00000105010101"
    "01010100000000000000000102030405060708090a0bffc400b5100002010303020403050504040000017d01020300"
    "041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a34"
    "35363738393a434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92"
    "939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3"
    "e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9faffc4001f0100030101010101010101010000000000000102030405060708"
    "090a0bffc400b511000201020404030407050404000102770001020311040521310612415107617113223281081442"
    "91a1b1c109233352f0156272d10a162434e125f11718191a262728292a35363738393a434445464748494a53545556"
    "5758595a636465666768696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aa"
    "b2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9faffda"
    "000c03010002110311003f006ee7036b39259738c8238c9f4e98e84761f9065c4a59b6effbc146319247a7b74c8a71"
    "541d06e1c8539cee39073edfe7a534ae26240ccac980cc7039efedf31c0a3ddebb8f4612725e356e5170cd9e1b8e78"
    "cfd3d7f5a29eaaed32c809046074fbb83c938e00393dfb9a29aa8975b7f5e86728397760797dc3692c0ee2e7f4fa63"
    "8fcbda910f98e0b4bbd40c36d3804673edc63f9d1450f4bb5d012d58c11c381bd0ed914296c8c71df19ebc7e9f5a28"
    "a2b4846e6d08f99fffd9";
// 8x8 of one colour in CMYK, which Adobe's programs store inverted: (200, 30, 60, 40).
const char* const kCmykJpeg =
    "ffd8ffee000e41646f626500640000000000ffdb004300010101010101010101010101010101010101010101010101"
    "01010101010101010101010101010101010101010101010101010101010101010101010101010101ffc00014080008"
    "0008044311004d11005911004b1100ffc4001f0000010501010101010100000000000000000102030405060708090a"
    "0bffc400b5100002010303020403050504040000017d01020300041105122131410613516107227114328191a10823"
    "42b1c11552d1f02433627282090a161718191a25262728292a3435363738393a434445464748494a53545556575859"
    "5a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5"
    "b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9faffda000e"
    "0443004d0059004b00003f00fe6debfb08afe862bfab8affd9";

torch::Tensor sevens() {
  return (torch::arange(36) * 7).to(torch::kUInt8).view({3, 4, 3}).permute({2, 0, 1});
}

torch::Tensor decoded(const Bytes& bytes, int channels = 0, const std::string& name = "x.png") {
  return to_tensor(decode_image(bytes, name, channels));
}

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

// 200 kB that unpack to 200 MB, for a picture of 12 pixels.
TEST(Image, RefusesAPngThatUnpacksToMoreThanItsPixels) {
  const Bytes bomb = png_of(3, 4, deflated(Bytes(200'000'000, 0)));
  EXPECT_LT(bomb.size(), 300'000u);
  EXPECT_CONTAINS(message_of<IoError>([&] { decode_image(bomb, "bomb.png"); }),
                  "bomb.png: is not a readable image");
}

TEST(Image, SaysWhichHas16BitsPerChannel) {
  EXPECT_TRUE(image_info(from_hex(kDeepPng), "x").deep);
  EXPECT_TRUE(image_header(from_hex(kPng16), "x")->deep);
  for (const char* hex : {kPng, kBmp, kJpeg, kWebp})
    EXPECT_FALSE(image_info(from_hex(hex), "x").deep);
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

// EXIF 2.3, tag 0x0112: which side of the picture the first row and the first column show.
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

// Any damage to the EXIF block leaves a picture that is turned in some way, or an IoError.
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

// Decoders have written beyond their arrays for such tables.
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

TEST(MakeGrid, PlacesImagesRowByRow) {
  torch::Tensor images = torch::empty({5, 1, 2, 3}, torch::kUInt8);
  for (int i = 0; i < 5; ++i) images[i].fill_(10 * (i + 1));
  const torch::Tensor grid = make_grid(images, /*columns=*/2, /*padding=*/1, /*background=*/7);
  ASSERT_EQ(grid.sizes(), (torch::IntArrayRef{1, 3 * 3 + 1, 2 * 4 + 1}));
  for (int i = 0; i < 5; ++i) {
    const int y = 1 + i / 2 * 3, x = 1 + i % 2 * 4;
    EXPECT_TRUE(torch::equal(grid.slice(1, y, y + 2).slice(2, x, x + 3), images[i]));
  }
  // What no image covers is background: 90 pixels less 5 images of 6.
  EXPECT_EQ((grid == 7).sum().item<int>(), 90 - 30);
}

TEST(MakeGrid, BackgroundIsOpaque) {
  for (const int64_t channels : {2, 4}) {
    const torch::Tensor grid =
        make_grid(torch::zeros({3, channels, 4, 4}, torch::kUInt8), 2, 1, /*background=*/7);
    EXPECT_EQ(grid[0][0][0].item<int>(), 7);
    EXPECT_EQ(grid[channels - 1][0][0].item<int>(), 255);
    EXPECT_EQ(grid[channels - 1][1][1].item<int>(), 0);
  }
}

TEST(Enlarged, RepeatsPixelsUntilTheLongerSideIsLongEnough) {
  const torch::Tensor image = torch::arange(6).to(torch::kUInt8).view({1, 2, 3});
  const torch::Tensor large = enlarged(image, /*side=*/7);
  ASSERT_EQ(large.sizes(), (torch::IntArrayRef{1, 6, 9}));
  for (int y = 0; y < 6; ++y) {
    for (int x = 0; x < 9; ++x)
      EXPECT_EQ(large[0][y][x].item<int>(), image[0][y / 3][x / 3].item<int>());
  }
  EXPECT_TRUE(torch::equal(enlarged(image, 3), image));
  EXPECT_EQ(enlarged(image, 500).size(2), 24);  // not beyond 8 times
}

TEST(MakeGrid, IsNearlySquareByDefault) {
  const auto columns_of = [](int64_t count) {
    return make_grid(torch::zeros({count, 3, 4, 4}, torch::kUInt8), 0, 0).size(2) / 4;
  };
  EXPECT_EQ(columns_of(1), 1);
  EXPECT_EQ(columns_of(2), 2);
  EXPECT_EQ(columns_of(16), 4);
  EXPECT_EQ(columns_of(17), 5);
  EXPECT_EQ(make_grid(torch::zeros({3, 3, 4, 4}, torch::kUInt8), 8, 0).size(2),
            12);  // no empty columns
}

TEST(ToUint8, InvertsTheModelRangeForEveryPixelValue) {
  const torch::Tensor pixels = torch::arange(256).to(torch::kUInt8);
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    EXPECT_TRUE(torch::equal(to_uint8(pixels.to(type) / 127.5 - 1), pixels));
  }
}

TEST(ToUint8, RoundsToNearestAndClamps) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const torch::Tensor x =
      torch::tensor({-1.0f, 1.0f, -7.0f, 7.0f, 1.49f / 127.5f - 1, 1.51f / 127.5f - 1, nan});
  EXPECT_TRUE(torch::equal(to_uint8(x), torch::tensor({0, 255, 0, 255, 1, 2, 0}, torch::kUInt8)));
  EXPECT_EQ(to_uint8(torch::zeros({2, 3, 4, 5}, torch::kBFloat16)).sizes(),
            (torch::IntArrayRef{2, 3, 4, 5}));
}

// 2^32 + 1 is 1 in 32 bits; a comment ends at a carriage return too, as stb_image reads it.
TEST(ImageHeader, NumbersOfAPnmThatOverflowAreNone) {
  for (const std::string text :
       {"P5 4294967297 1 255\nx", "P5\n#\r4294967297 1 255\nx", "P6 1 4294967297 255\nx"}) {
    const Bytes bytes(text.begin(), text.end());
    EXPECT_FALSE(image_header(bytes, "x")) << text;
    EXPECT_THROW(image_info(bytes, "x"), IoError) << text;
  }
}

// A program that links LibTorch before libstdc++ crashes in std::filesystem.
TEST(Filesystem, WalksAndRemovesATreeBesideLibTorch) {
  const TemporaryFolder folder;
  for (const char* name : {"a/b/c.png", "a/d.png", "e.png"})
    fixtures::write(folder / name, from_hex(kPng));
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path())) {
    files += entry.is_regular_file();
  }
  EXPECT_EQ(files, 3);
  EXPECT_EQ(std::filesystem::remove_all(folder / "a"), 4u);
  EXPECT_FALSE(std::filesystem::exists(folder / "a"));
}

}  // namespace
}  // namespace ddpm::io
