#include "src/data/image_folder.h"

#include "ddpm/base/error.h"
#include "ddpm/io/image.h"
#include "src/data/image_files.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <unistd.h>

namespace ddpm::data {
namespace {

using fixtures::Bytes;
using fixtures::flat_pnm;
using fixtures::message_of;

int64_t value_of(const Dataset& set, int64_t index) {
  return set.get(index).image.max().item<int64_t>();
}

TEST(IsImageName, KnowsEndingsInEitherCaseAndSkipsHiddenFiles) {
  for (const char* name : {"a.png", "b/c.JPG", "a.Jpeg", "a.bmp", "a.TGA", "a.pgm", "a.b.ppm",
                           "a.webp", "a.JFIF", "a.jpe"}) {
    EXPECT_TRUE(is_image_name(name)) << name;
  }
  for (const char* name :
       {"png", "a.txt", "a.png.txt", "._a.png", ".cache/a.png", "__MACOSX/a.png", "a.png/b"}) {
    EXPECT_FALSE(is_image_name(name)) << name;
  }
}

TEST(ImageFolder, FindsImagesRecursivelyInPathOrder) {
  const TemporaryFolder folder;
  fixtures::write(folder / "b/2.ppm", flat_pnm(4, 6, 3, 30));
  fixtures::write(folder / "a/deep/er/1.PPM", flat_pnm(4, 6, 3, 10));
  fixtures::write(folder / "b/1.ppm", flat_pnm(4, 6, 3, 20));
  fixtures::write(folder / "b/notes.txt", fixtures::from_text("no image"));
  fixtures::write(folder / "b/._1.ppm", fixtures::from_text("no image either"));
  const auto set = open_image_folder(folder.path(), {});
  ASSERT_EQ(set->size(), 3);
  EXPECT_EQ(set->shape(), (ImageShape{3, 4, 6}));
  EXPECT_EQ(set->class_names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(set->class_count(), 2);
  EXPECT_EQ(set->get(0).label, 0);
  EXPECT_EQ(set->get(2).label, 1);
  EXPECT_EQ(value_of(*set, 0), 10);
  EXPECT_EQ(value_of(*set, 1), 20);
  EXPECT_EQ(value_of(*set, 2), 30);
}

TEST(ImageFolder, ChannelsComeFromTheFirstFileOrAreAskedFor) {
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

TEST(ImageFolder, AlphaIsKeptOnlyWhereAskedFor) {
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

TEST(ImageFolder, UncroppedImagesJustCover) {
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

// The header of a file larger than kHeaderBytes lies in its beginning, the damage behind it.
TEST(ImageFolder, SkipLeavesOutWhatCannotBeDecoded) {
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

TEST(ImageFolder, WithoutAnyGoodImageSaysWhy) {
  const TemporaryFolder folder;
  fixtures::write(folder / "1.ppm", fixtures::from_text("no image"));
  fixtures::write(folder / "2.ppm", fixtures::from_text("no image"));
  const std::string message = message_of<IoError>([&] {
    open_image_folder(folder.path(), {ImageSize{8, 8}, 0, BadImages::kSkip});
  });
  EXPECT_CONTAINS(message, "none of its 2 images can be read; the first: ");
  EXPECT_CONTAINS(message, "1.ppm: is not a PNG");
}

// Threads read in any order; the error is that of the first file.
TEST(ImageFolder, TheFirstBadFileIsNamedWhateverTheTiming) {
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

TEST(ImageFolder, MixedSizesNameTheFirstOddFileAndTheWayOut) {
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

TEST(ImageFolder, NamesTheBrokenImage) {
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

TEST(ImageFolder, NamesTheFolderThatIsMissingEmptyOrAFile) {
  const TemporaryFolder folder;
  const auto opening = [&](const std::string& name) {
    return message_of<IoError>([&] { open_image_folder(folder / name, {}); });
  };
  EXPECT_CONTAINS(opening("none"), "none: no such folder");
  std::filesystem::create_directories(folder / "empty/inside");
  EXPECT_CONTAINS(opening("empty"),
                  "empty: no images in this image folder; expected files ending in png, jpg");
  fixtures::write(folder / "file", {});
  EXPECT_CONTAINS(opening("file"), "file: is not a folder");
}

TEST(ImageFolder, DescribesItself) {
  const TemporaryFolder folder;
  fixtures::write(folder / "a/1.ppm", flat_pnm(4, 6, 3, 10));
  EXPECT_EQ(open_image_folder(folder.path(), {})->description(),
            "image folder " + folder.path().string() +
                ": 1 image of 4x6 (height x width), 3 channels, 1 class");
}

namespace fs = std::filesystem;

std::vector<std::string> remarks_of(const fs::path& folder, const ImageOptions& options = {}) {
  return open_image_folder(folder, options)->remarks();
}

TEST(ImageFolder, DoesNotFollowALinkThatLeadsBack) {
  const TemporaryFolder folder;
  fixtures::write(folder / "set/a/1.ppm", flat_pnm(4, 6, 3, 10));
  fixtures::write(folder / "beside.ppm", flat_pnm(9, 9, 3, 20));
  fixtures::write(folder / "elsewhere/b/2.ppm", flat_pnm(4, 6, 3, 30));
  fs::create_directory_symlink("..", folder / "set/up");
  fs::create_directory_symlink(".", folder / "set/a/self");
  fs::create_directory_symlink(folder / "elsewhere", folder / "set/there");
  fs::create_directory_symlink(folder / "set", folder / "elsewhere/back");
  const auto set = open_image_folder(folder / "set", {});
  ASSERT_EQ(set->size(), 2);  // of set/a, and through the link that leads elsewhere
  EXPECT_EQ(set->class_names(), (std::vector<std::string>{"a", "there"}));
  ASSERT_EQ(set->remarks().size(), 3u);
  for (const char* link : {"set/a/self", "set/there/back", "set/up"}) {
    const std::vector<std::string> remarks = set->remarks();
    EXPECT_TRUE(std::any_of(remarks.begin(), remarks.end(), [&](const std::string& remark) {
      return remark.find((folder / link).string() + " is a link back to ") == 0;
    })) << link;
  }
}

TEST(ImageFolder, NamesALinkToNothing) {
  const TemporaryFolder folder;
  fixtures::write(folder / "1.ppm", flat_pnm(4, 6, 3, 10));
  fs::create_symlink("/no/such/place", folder / "animals");
  EXPECT_EQ(
      remarks_of(folder.path()),
      std::vector{(folder / "animals").string() +
                  " is a link to /no/such/place, which cannot be reached; mend or remove it"});
  fs::create_symlink("/no/such/file", folder / "0.png");
  EXPECT_CONTAINS(message_of<IoError>([&] { open_image_folder(folder.path(), {}); }),
                  "0.png: is a link to /no/such/file, which cannot be reached; mend or remove it, "
                  "or set data.on_bad_image");
  const auto set = open_image_folder(folder.path(), {std::nullopt, 0, BadImages::kSkip});
  EXPECT_EQ(set->size(), 1);
  EXPECT_EQ(set->skipped().size(), 1u);
}

// Root may list any folder: a child of the test becomes nobody.
TEST(ImageFolder, NamesTheFolderThatItMayNotList) {
  const TemporaryFolder folder;
  fixtures::write(folder / "1.ppm", flat_pnm(4, 6, 3, 10));
  fixtures::write(folder / "closed/2.ppm", flat_pnm(4, 6, 3, 10));
  fs::permissions(folder.path(), fs::perms::all);
  fs::permissions(folder / "closed", fs::perms::none);
  const auto open = [&] {
    if (::geteuid() == 0 && ::seteuid(65534) != 0) std::exit(2);
    try {
      open_image_folder(folder.path(), {});
    } catch (const IoError& error) {
      std::fprintf(stderr, "%s\n", error.what());
      std::exit(1);
    }
    std::exit(0);
  };
  testing::GTEST_FLAG(death_test_style) = "fast";
  EXPECT_EXIT(open(), testing::ExitedWithCode(1),
              "closed: cannot be listed .Permission denied.; make it readable");
  fs::permissions(folder / "closed", fs::perms::owner_all);
}

TEST(ImageFolder, CountsTheFilesThatItPassesOver) {
  const TemporaryFolder folder;
  fixtures::write(folder / "1.ppm", flat_pnm(4, 6, 3, 10));
  for (const char* name :
       {"a.gif", "b/c.GIF", "d.tif", "notes.txt", "LICENSE", "._e.gif", ".git/f.gif", "Thumbs.db"})
    fixtures::write(folder / name, fixtures::from_text("x"));
  const auto set = open_image_folder(folder.path(), {});
  const std::map<std::string, int64_t> expected{{".gif", 2}, {".tif", 1}, {".txt", 1}, {"", 1}};
  EXPECT_EQ(set->passed_over(), expected);
  EXPECT_EQ(set->remarks(), std::vector<std::string>{
                                "files of formats that are not read are passed over: 2 .gif, 1 "
                                ".tif; convert them to PNG, JPEG or WebP"});
  fs::remove(folder / "1.ppm");
  EXPECT_CONTAINS(message_of<IoError>([&] { open_image_folder(folder.path(), {}); }),
                  "there are 2 .gif, 1 without ending, 1 .tif, 1 .txt");
}

TEST(ImageFolder, SaysWhatImagesLose) {
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
  EXPECT_EQ(remarks_of(folder / "deep"),
            std::vector<std::string>{"1 of 1 images has 16 bits per channel and is rounded to 8"});
}

TEST(ImageFolder, RefusesMorePixelsThanAllowed) {
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

TEST(ImageFolder, TakesLabelsFromWhereItIsTold) {
  const TemporaryFolder folder;
  for (const char* name : {"cat_1.ppm", "dog_1.ppm", "cat_2.ppm"})
    fixtures::write(folder / name, flat_pnm(4, 4, 3, 10));
  fixtures::write(folder / "l.csv", fixtures::from_text("cat_1.ppm,x\ncat_2.ppm,y\ndog_1.ppm,z\n"));
  ImageOptions options;
  options.labels = "prefix";
  const auto set = open_image_folder(folder.path(), options);
  EXPECT_EQ(set->class_names(), (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(set->get(2).label, 1);
  options.labels = "l.csv";
  EXPECT_EQ(open_image_folder(folder.path(), options)->class_count(), 3);
}

TEST(ImageFolder, TheFingerprintIsThatOfNamesSizesAndClasses) {
  const TemporaryFolder folder;
  for (const char* place : {"a", "b"})
    fixtures::write(folder / fmt::format("{}/cat/1.ppm", place), flat_pnm(4, 6, 3, 10));
  const auto of = [&](const char* place) {
    return open_image_folder(folder / place, {ImageSize{4, 4}})->fingerprint();
  };
  const std::string first = of("a");
  EXPECT_EQ(first.size(), 8u);
  EXPECT_EQ(of("b"), first);
  fixtures::write(folder / "b/cat/1.ppm", flat_pnm(4, 7, 3, 10));
  EXPECT_NE(of("b"), first);
  fixtures::write(folder / "b/cat/1.ppm", flat_pnm(4, 6, 3, 10));
  EXPECT_EQ(of("b"), first);
  fs::rename(folder / "b/cat/1.ppm", folder / "b/cat/2.ppm");
  EXPECT_NE(of("b"), first);
  fs::rename(folder / "b/cat/2.ppm", folder / "b/cat/1.ppm");
  fs::rename(folder / "b/cat", folder / "b/dog");
  EXPECT_NE(of("b"), first);
}

}  // namespace
}  // namespace ddpm::data
