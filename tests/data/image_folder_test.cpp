#include "src/data/image_folder.h"

#include "ddpm/base/error.h"
#include "src/data/image_names.h"
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

namespace ddpm::data::image_folder_test {
namespace {

namespace fs = std::filesystem;
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

// The header of a file larger than kHeaderBytes lies in its beginning, the damage behind it.
// Threads read in any order; the error is that of the first file.
TEST(ImageFolder, NamesTheFolderThatIsMissingEmptyOrAFile) {
  const TemporaryFolder folder;
  const auto opening = [&](const std::string& name) {
    return message_of<IoError>([&] { open_image_folder(folder / name, {}); });
  };
  EXPECT_CONTAINS(opening("none"), "none: does not exist; check data.path");
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
      open_image_folder(folder.path(), {})->remarks(),
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
}  // namespace ddpm::data::image_folder_test
