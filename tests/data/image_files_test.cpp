#include "src/data/image_files.h"

#include "ddpm/base/error.h"
#include "ddpm/io/image.h"
#include "src/data/image_folder.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <filesystem>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

using fixtures::Bytes;
using fixtures::flat_pnm;
using fixtures::message_of;

int64_t value_of(const Dataset& set, int64_t index) {
  return set.get(index).image.max().item<int64_t>();
}

std::vector<std::string> remarks_of(const std::filesystem::path& folder,
                                    const ImageOptions& options = {}) {
  return open_image_folder(folder, options)->remarks();
}

TEST(ImageFiles, ChannelsComeFromTheFirstFileOrAreAskedFor) {
  const TemporaryFolder folder;
  fixtures::write(folder / "1.pgm", flat_pnm(4, 4, 1, 10));
  fixtures::write(folder / "2.ppm", flat_pnm(4, 4, 3, 20));
  EXPECT_EQ(open_image_folder(folder.path(), {})->shape().channels, 1);
  EXPECT_EQ(open_image_folder(folder.path(), {})->get(1).image.size(0), 1);
  const auto colour = open_image_folder(folder.path(), {std::nullopt, 3});
  EXPECT_EQ(colour->shape().channels, 3);
  EXPECT_EQ(colour->get(0).image.size(0), 3);
  EXPECT_EQ(colour->get(0).label, -1);
}

TEST(ImageFiles, AlphaIsKeptOnlyWhereAskedFor) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "a");
  std::filesystem::create_directories(folder / "b");
  io::write_png(folder / "a/1.png", torch::full({4, 5, 5}, 9, torch::kUInt8));
  io::write_png(folder / "b/1.png", torch::full({2, 5, 5}, 9, torch::kUInt8));
  EXPECT_EQ(open_image_folder(folder / "a", {})->shape().channels, 3);
  EXPECT_EQ(open_image_folder(folder / "b", {})->shape().channels, 1);
  for (const int64_t channels : {1, 2, 3, 4}) {
    const auto set = open_image_folder(folder.path(), {std::nullopt, channels});
    EXPECT_EQ(set->shape().channels, channels);
    for (int64_t i = 0; i < 2; ++i) {
      const torch::Tensor image = set->get(i).image;
      EXPECT_EQ(image.size(0), channels);
      // Grey weights rounded down: 9 (77 + 150 + 29) / 256 = 9.
      EXPECT_TRUE((image == 9).all().item<bool>());
    }
  }
}

TEST(ImageFiles, UncroppedImagesJustCover) {
  const TemporaryFolder folder;
  fixtures::write(folder / "1.ppm", flat_pnm(20, 30, 3, 10));
  fixtures::write(folder / "2.ppm", flat_pnm(40, 60, 3, 20));
  const auto alike = open_image_folder(folder.path(), {ImageSize{8, 8}, 0});
  EXPECT_EQ(alike->uncropped_shape(), (ImageShape{3, 8, 12}));
  EXPECT_EQ(alike->get_uncropped(1).image.sizes(), (torch::IntArrayRef{3, 8, 12}));
  EXPECT_EQ(alike->source_sizes(), (SizeRange{20, 40, 30, 60}));
  fixtures::write(folder / "3.ppm", flat_pnm(8, 8, 3, 30));
  const auto mixed = open_image_folder(folder.path(), {ImageSize{8, 8}, 0});
  EXPECT_FALSE(mixed->uncropped_shape().has_value());
  EXPECT_EQ(mixed->get_uncropped(2).image.sizes(), (torch::IntArrayRef{3, 8, 8}));
}

TEST(ImageFiles, SkipLeavesOutWhatCannotBeDecoded) {
  const TemporaryFolder folder;
  for (const char* name : {"cat/1.ppm", "cat/3.ppm", "dog/1.ppm"})
    fixtures::write(folder / name, flat_pnm(200, 200, 3, 10));
  fixtures::write(folder / "bird/1.ppm", fixtures::from_text("no image"));
  Bytes cut = flat_pnm(200, 200, 3, 20);
  cut.resize(100000);
  fixtures::write(folder / "cat/2.ppm", cut);
  const auto open = [&](BadImages bad) {
    return open_image_folder(folder.path(), {ImageSize{8, 8}, 0, bad, 3});
  };
  EXPECT_CONTAINS(message_of<IoError>([&] { open(BadImages::kError); }),
                  "bird/1.ppm: is not a PNG, JPEG, WebP, BMP, PGM/PPM or (named .tga) TGA image; "
                  "remove the file or convert it, or set data.on_bad_image = \"skip\"");

  const auto set = open(BadImages::kSkip);
  ASSERT_EQ(set->size(), 3);
  ASSERT_EQ(set->skipped().size(), 2u);
  EXPECT_CONTAINS(set->skipped()[0], "bird/1.ppm: is not a PNG");
  EXPECT_CONTAINS(set->skipped()[1], "cat/2.ppm: is not a readable image: it is cut short");
  EXPECT_CONTAINS(set->description(),
                  "3 images of 8x8 (height x width), 3 channels, 3 classes; 2 "
                  "damaged, left out");
  // Class numbers are those of all files.
  EXPECT_EQ(set->class_names(), (std::vector<std::string>{"bird", "cat", "dog"}));
  EXPECT_EQ(set->get(0).label, 1);
  EXPECT_EQ(set->get(2).label, 2);
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(value_of(*set, i), 10);

  const auto by_header = open(BadImages::kSkipByHeader);
  ASSERT_EQ(by_header->size(), 4);
  EXPECT_EQ(by_header->skipped().size(), 1u);
  EXPECT_CONTAINS(message_of<IoError>([&] { by_header->get(1); }), "cat/2.ppm: is not a readable");
}

TEST(ImageFiles, WithoutAnyGoodImageSaysWhy) {
  const TemporaryFolder folder;
  fixtures::write(folder / "1.ppm", fixtures::from_text("no image"));
  fixtures::write(folder / "2.ppm", fixtures::from_text("no image"));
  const std::string message = message_of<IoError>([&] {
    open_image_folder(folder.path(), {ImageSize{8, 8}, 0, BadImages::kSkip});
  });
  EXPECT_CONTAINS(message, "none of its 2 images can be read; the first: ");
  EXPECT_CONTAINS(message, "1.ppm: is not a PNG");
}

TEST(ImageFiles, TheFirstBadFileIsNamedWhateverTheTiming) {
  const TemporaryFolder folder;
  for (int i = 0; i < 60; ++i) {
    fixtures::write(folder / fmt::format("{:02}.ppm", i),
                    i < 20 ? flat_pnm(6, 6, 3, 1) : fixtures::from_text("no image"));
  }
  for (int round = 0; round < 10; ++round) {
    EXPECT_CONTAINS(message_of<IoError>([&] {
                      open_image_folder(folder.path(), {std::nullopt, 0, BadImages::kError, 8});
                    }),
                    "20.ppm");
  }
}

TEST(ImageFiles, MixedSizesNameTheFirstOddFileAndTheWayOut) {
  const TemporaryFolder folder;
  fixtures::write(folder / "1.ppm", flat_pnm(4, 6, 3, 10));
  fixtures::write(folder / "2.ppm", flat_pnm(8, 6, 3, 10));
  fixtures::write(folder / "3.ppm", flat_pnm(9, 6, 3, 10));
  const std::string message = message_of<IoError>([&] { open_image_folder(folder.path(), {}); });
  EXPECT_CONTAINS(message, "2.ppm: is 8x6 (height x width), but 1.ppm is 4x6; set data.image_size");
  const auto set = open_image_folder(folder.path(), {ImageSize{5, 5}, 0});
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(set->get(i).image.sizes(), (torch::IntArrayRef{3, 5, 5}));
    EXPECT_EQ(value_of(*set, i), 10);
  }
}

TEST(ImageFiles, NamesTheBrokenImage) {
  const TemporaryFolder folder;
  fixtures::write(folder / "1.ppm", flat_pnm(4, 6, 3, 10));
  Bytes png = io::encode_png(torch::zeros({3, 4, 6}, torch::kUInt8));
  png.resize(png.size() - 20);
  fixtures::write(folder / "sub/2.png", png);
  const std::string expected = (folder / "sub/2.png").string() + ": is not a readable image";
  EXPECT_CONTAINS(message_of<IoError>([&] { open_image_folder(folder.path(), {}); }), expected);
  fixtures::write(folder / "sub/1.jpg", fixtures::from_text("hello"));
  EXPECT_CONTAINS(message_of<IoError>([&] { open_image_folder(folder.path(), {}); }),
                  "sub/1.jpg: is not a PNG");
}

TEST(ImageFiles, SaysWhatImagesLose) {
  const TemporaryFolder folder;
  fixtures::write(folder / "0.pgm", flat_pnm(4, 4, 1, 10));
  fixtures::write(folder / "1.ppm", flat_pnm(4, 4, 3, 10));
  io::write_png(folder / "2.png", torch::full({4, 4, 4}, 9, torch::kUInt8));
  EXPECT_EQ(
      remarks_of(folder.path()),
      (std::vector<std::string>{
          "2 of 3 images have colours and become grey, as the first, 0.pgm, is grey; set "
          "data.channels = 3 to keep the colours, or 1 to agree",
          "1 of 3 images has an alpha channel, which is dropped; set data.channels = 2 to keep "
          "it, or 1 to agree"}));
  for (const int64_t channels : {1, 2, 3, 4})
    EXPECT_TRUE(remarks_of(folder.path(), {std::nullopt, channels}).empty()) << channels;
  // A grey PNG of 16 bits, written by Pillow: 3x1.
  fixtures::write(
      folder / "deep/a.png",
      fixtures::from_hex("89504e470d0a1a0a0000000d49484452000000030000000110000000006e1b97"
                         "2b0000000f4944415478"
                         "9c6360606064f8ff1f00030802004170900d0000000049454e44ae426082"));
  EXPECT_EQ(
      remarks_of(folder / "deep"),
      std::vector<std::string>{"1 of 1 images has 16 bits per channel and is rounded to 8; set "
                               "data.depth = 16 to keep them"});
}

// What the pixels v of a file become: levels v / 257.
torch::Tensor levels_of(const torch::Tensor& values) {
  return values.to(torch::kDouble).div(257).to(torch::kFloat);
}

TEST(ImageFiles, Keep16BitsIfAsked) {
  const TemporaryFolder folder;
  const torch::Tensor deep =
      torch::arange(65535 - 36 * 301, 65535, 301, torch::kInt).view({3, 3, 4});
  io::write_png(folder / "a.png", deep);
  fixtures::write(folder / "b.ppm", flat_pnm(3, 4, 3, 10));
  ImageOptions options;
  const auto rounded = open_image_folder(folder.path(), options);
  EXPECT_EQ(rounded->pixel_type(), torch::kByte);
  EXPECT_TRUE(rounded->get(0).image.equal(levels_of(deep).round().to(torch::kByte)));
  options.depth = 16;
  const auto kept = open_image_folder(folder.path(), options);
  EXPECT_EQ(kept->pixel_type(), torch::kFloat);
  EXPECT_TRUE(kept->remarks().empty());
  EXPECT_TRUE(kept->get(0).image.allclose(levels_of(deep), 1e-7, 0));
  EXPECT_TRUE(kept->get(1).image.equal(torch::full({3, 3, 4}, 10.0F)));
  EXPECT_CONTAINS(kept->description(), "3 channels of more than 8 bits");
  // Where no file has more, bytes take a quarter of the memory.
  std::filesystem::remove(folder / "a.png");
  EXPECT_EQ(open_image_folder(folder.path(), options)->pixel_type(), torch::kByte);
}

TEST(ImageFiles, OfMoreThan4ChannelsDoNotExist) {
  const TemporaryFolder folder;
  fixtures::write(folder / "b.ppm", flat_pnm(3, 4, 3, 10));
  EXPECT_CONTAINS(
      message_of<IoError>([&] {
        open_image_folder(folder.path(), {std::nullopt, 7});
      }),
      "holds image files, which have 1 to 4 channels, but 7 are asked for; use a NumPy array");
}

TEST(ImageFiles, RefusesMorePixelsThanAllowed) {
  const TemporaryFolder folder;
  fixtures::write(folder / "1.ppm", flat_pnm(10, 10, 3, 10));
  fixtures::write(folder / "2.ppm", flat_pnm(1, 90, 3, 10));
  ImageOptions options{ImageSize{10, 10}};
  options.max_pixels = 99;
  const auto opening = [&] {
    return message_of<IoError>([&] { open_image_folder(folder.path(), options); });
  };
  EXPECT_CONTAINS(opening(),
                  "1.ppm: has 10 x 10 pixels, more than the 9.9e-05 megapixels that "
                  "data.max_megapixels allows; scale it down or remove it");
  options.max_pixels = 899;
  EXPECT_CONTAINS(opening(),
                  "2.ppm: is 1x90 (height x width), too long and thin: to cover 10x10 it "
                  "is scaled to 10x900, more than");
  options.bad_images = BadImages::kSkip;
  EXPECT_EQ(open_image_folder(folder.path(), options)->size(), 1);
  options.max_pixels = 9000;
  EXPECT_EQ(open_image_folder(folder.path(), options)->size(), 2);
}

}  // namespace
}  // namespace ddpm::data
