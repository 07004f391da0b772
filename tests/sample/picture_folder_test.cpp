#include "ddpm/sample/picture_folder.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "ddpm/io/image.h"
#include "ddpm/io/npy.h"
#include "tests/io/temporary_folder.h"

#include <filesystem>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

namespace fs = std::filesystem;

torch::Tensor picture(int64_t value) { return torch::full({3, 2, 4}, value, torch::kUInt8); }

PictureSet set_of(int64_t count, const std::string& settings = R"({"steps": 50, "seed": 0})") {
  PictureSet set;
  set.count = count;
  set.settings = settings;
  return set;
}

void fill(const PictureFolder& folder, int64_t count) {
  for (int64_t i = 0; i < count; ++i) folder.write(i, picture(i));
}

/// What preparing the folder is refused with; checks that check() agrees and nothing is changed.
std::string refusal(const PictureFolder& folder, const PictureSet& set, bool overwrite = false) {
  const std::string before = fs::exists(folder.path() / "sampling.json")
                                 ? io::read_text(folder.path() / "sampling.json")
                                 : "";
  std::string message = "(no error)";
  try {
    folder.check(set, overwrite);
    return message;
  } catch (const IoError& error) {
    message = error.what();
  }
  EXPECT_THROW(folder.prepare(set, overwrite), IoError);
  if (!before.empty()) {
    EXPECT_EQ(io::read_text(folder.path() / "sampling.json"), before);
  }
  return message;
}

bool says(const std::string& message, const std::string& part) {
  return message.find(part) != std::string::npos;
}

TEST(PictureFolder, ReadsBackWhatItWrote) {
  const TemporaryFolder folder;
  const PictureFolder pictures(folder / "a" / "b");
  pictures.prepare(set_of(13), false);
  pictures.write(12, picture(200));
  EXPECT_EQ(pictures.file_of(12).filename(), "000012.png");
  EXPECT_EQ(pictures.file_of(1234567).filename(), "1234567.png");
  EXPECT_TRUE(pictures.read(12).equal(picture(200)));
}

TEST(PictureFolder, Writes16BitsAndReads8) {
  const TemporaryFolder folder;
  const PictureFolder pictures(folder / "a");
  pictures.prepare(set_of(1), false);
  const torch::Tensor deep = torch::arange(3 * 2 * 4, torch::kInt).view({3, 2, 4}) * 2849;
  pictures.write(0, deep);
  const auto bytes = io::read_file(pictures.file_of(0));
  EXPECT_TRUE(io::image_info(bytes, "x").deep);
  EXPECT_TRUE(pictures.read(0).equal(deep.to(torch::kFloat).div(257).round().to(torch::kByte)));
}

TEST(PictureFolder, AnImageOfManyChannelsIsAnArray) {
  const TemporaryFolder folder;
  const PictureFolder pictures(folder / "a", picture_ending(5));
  EXPECT_EQ(picture_ending(4), ".png");
  pictures.prepare(set_of(2), false);
  const torch::Tensor image = torch::arange(5 * 2 * 4).view({5, 2, 4}).to(torch::kByte);
  pictures.write(0, image);
  EXPECT_EQ(pictures.file_of(0).filename(), "000000.npy");
  EXPECT_TRUE(io::read_npy(pictures.file_of(0)).equal(image.permute({1, 2, 0})));
  EXPECT_TRUE(pictures.read(0).equal(image));
  const torch::Tensor deep = image.to(torch::kInt) * 1285 + 128;  // rounds to 5 v
  pictures.write(1, deep);
  EXPECT_TRUE(io::read_npy(pictures.file_of(1)).equal(deep.permute({1, 2, 0})));
  EXPECT_TRUE(pictures.read(1).equal(image * 5));
  EXPECT_EQ(pictures.missing({0, 1, 2}, {5, 2, 4}), std::vector<int64_t>{2});
  EXPECT_EQ(pictures.grid(2, 1).size(0), 1);  // channels side by side, in grey
  // Other settings: arrays are refused and given up as pictures are.
  const PictureFolder others(folder / "a");
  EXPECT_TRUE(says(refusal(others, set_of(2, R"({"steps": 20})")), "holds 2 images of other"));
  others.prepare(set_of(2, R"({"steps": 20})"), true);
  EXPECT_FALSE(fs::exists(pictures.file_of(0)));
  fs::copy_file(DDPM_SOURCE_DIR "/README.md", folder / "a" / "mine.npy");
  EXPECT_TRUE(
      says(refusal(others, set_of(2)), "images that no sampling.json there lists (mine.npy)"));
}

TEST(PictureFolder, MissesWhatIsAbsentCutShortOrOfAnotherSize) {
  const TemporaryFolder folder;
  const PictureFolder pictures(folder.path());
  pictures.prepare(set_of(4), false);
  fill(pictures, 3);
  fs::resize_file(pictures.file_of(1), fs::file_size(pictures.file_of(1)) - 5);
  io::write_png(pictures.file_of(2), torch::zeros({3, 4, 4}, torch::kUInt8));
  EXPECT_EQ(pictures.missing({0, 1, 2, 3}, {3, 2, 4}), (std::vector<int64_t>{1, 2, 3}));
}

TEST(PictureFolder, OtherSettingsAreRefusedWithTheWaysOut) {
  const TemporaryFolder folder;
  const PictureFolder pictures(folder.path());
  pictures.prepare(set_of(5), false);
  fill(pictures, 5);
  const std::string message = refusal(pictures, set_of(5, R"({"steps": 20, "seed": 0})"));
  for (const char* part :
       {"5 images of other settings", "steps 50, now 20", "--out", "--overwrite", "--continue"})
    EXPECT_TRUE(says(message, part)) << message;
  EXPECT_TRUE(says(refusal(pictures, set_of(5, R"({"steps": 50})")), "seed 0, now null"));
  EXPECT_TRUE(fs::exists(pictures.file_of(4)));
}

TEST(PictureFolder, TheSameSettingsMayAddImagesButNotLeaveSome) {
  const TemporaryFolder folder;
  const PictureFolder pictures(folder.path());
  pictures.prepare(set_of(3), false);
  fill(pictures, 3);
  pictures.prepare(set_of(3), false);
  pictures.prepare(set_of(5), false);
  fill(pictures, 5);
  const std::string message = refusal(pictures, set_of(2));
  for (const char* part : {"5 images of these settings", "--num 5", "--out", "--overwrite"})
    EXPECT_TRUE(says(message, part)) << message;
  pictures.prepare(set_of(2), true);
  EXPECT_TRUE(fs::exists(pictures.file_of(1))) << "the same settings make the same image";
  EXPECT_FALSE(fs::exists(pictures.file_of(2)));
  EXPECT_FALSE(fs::exists(pictures.file_of(4)));
}

TEST(PictureFolder, AFolderWithoutImagesMayChangeItsSettings) {
  const TemporaryFolder folder;
  const PictureFolder pictures(folder.path());
  pictures.prepare(set_of(100), false);  // and failed before the first image
  pictures.prepare(set_of(2, R"({"steps": 20})"), false);
  EXPECT_TRUE(says(io::read_text(folder / "sampling.json"), "20"));
}

TEST(PictureFolder, ImagesOfSomebodyElseAreNeitherOverwrittenNorDeleted) {
  for (const char* name : {"000000.png", "000007.png", "cat.JPG", "00001.png", "0000001.png"}) {
    const TemporaryFolder folder;
    const PictureFolder pictures(folder.path());
    io::write_file_synced(folder / name, std::string_view("mine"));
    for (const bool overwrite : {false, true}) {
      const std::string message = refusal(pictures, set_of(3), overwrite);
      EXPECT_TRUE(says(message, name) && says(message, "--out")) << message;
    }
    EXPECT_EQ(io::read_text(folder / name), "mine");
  }
}

TEST(PictureFolder, ImagesAddedByHandToOursAreNeitherOverwrittenNorDeleted) {
  const TemporaryFolder folder;
  const PictureFolder pictures(folder.path());
  pictures.prepare(set_of(3), false);
  fill(pictures, 3);
  io::write_file_synced(folder / "000003.png", std::string_view("mine"));
  io::write_file_synced(folder / "notes.txt", std::string_view("mine too"));
  EXPECT_TRUE(says(refusal(pictures, set_of(5)), "000003.png"));
  EXPECT_TRUE(says(refusal(pictures, set_of(3, R"({"steps": 1})"), true), "000003.png"));
  fs::remove(folder / "000003.png");
  pictures.prepare(set_of(3, R"({"steps": 1})"), true);
  EXPECT_FALSE(fs::exists(pictures.file_of(0)));
  EXPECT_TRUE(fs::exists(folder / "notes.txt"));
}

// The sampling.json of a version that listed no files: the settings alone.
TEST(PictureFolder, ARecordThatListsNothingOwnsNothing) {
  const TemporaryFolder folder;
  const PictureFolder pictures(folder.path());
  const std::string settings = R"({"weights_crc32c": 7, "steps": 50})";
  io::write_file_synced(folder / "sampling.json", settings);
  pictures.prepare(set_of(2, settings), false);
  fill(pictures, 2);
  io::write_file_synced(folder / "sampling.json", settings);
  EXPECT_TRUE(says(refusal(pictures, set_of(2, settings), true), "000000.png"));
}

TEST(PictureFolder, ADamagedRecordIsRefused) {
  const TemporaryFolder folder;
  const PictureFolder pictures(folder.path());
  for (const char* text :
       {"", "{\"images\": 3", "[1]", "3", R"({"my": "own"})", R"({"settings": 4, "images": 2})",
        R"({"settings": {}, "images": "many"})"}) {
    io::write_file_synced(folder / "sampling.json", std::string_view(text));
    EXPECT_TRUE(says(refusal(pictures, set_of(1), true), "sampling.json: is damaged")) << text;
  }
}

TEST(PictureFolder, ASettingThatAnOldRecordDoesNotKnowHasItsDefault) {
  const TemporaryFolder folder;
  const PictureFolder pictures(folder.path());
  pictures.prepare(set_of(1), false);
  fill(pictures, 1);
  PictureSet now = set_of(1, R"({"steps": 50, "seed": 0, "guidance": 1.0})");
  now.defaults = R"({"guidance": 1.0})";
  pictures.prepare(now, false);
  now.settings = R"({"steps": 50, "seed": 0, "guidance": 2.0})";
  EXPECT_TRUE(says(refusal(pictures, now), "guidance 1.0, now 2.0"));
}

TEST(PictureFolder, AnotherFileIsNamedWhereItsChecksumDiffers) {
  const TemporaryFolder folder;
  const PictureFolder pictures(folder.path());
  PictureSet set = set_of(1, R"({"weights_crc32c": 1})");
  set.source = R"({"weights": "a/ema.safetensors"})";
  pictures.prepare(set, false);
  fill(pictures, 1);
  set.source = R"({"weights": "b/ema.safetensors"})";
  pictures.prepare(set, false);  // moved, but the same
  set.settings = R"({"weights_crc32c": 2})";
  EXPECT_TRUE(says(refusal(pictures, set),
                   "weights b/ema.safetensors (checksum 1), now b/ema.safetensors (checksum 2)"));
}

TEST(PictureFolder, AGridStandsBesideTheFolder) {
  const fs::path here = fs::current_path();
  EXPECT_EQ(PictureFolder("p").beside("grid"), "p-grid.png");
  EXPECT_EQ(PictureFolder("a/p/").beside("grid"), "a/p-grid.png");
  EXPECT_EQ(PictureFolder("a/./p").beside("trajectory"), "a/p-trajectory.png");
  EXPECT_EQ(PictureFolder(".").beside("grid"),
            here.parent_path() / (here.filename().string() + "-grid.png"));
  EXPECT_EQ(PictureFolder("..").beside("grid").parent_path(), here.parent_path().parent_path());
}

TEST(PictureFolder, AGridOfOursMayBeReplacedAndNoOtherFile) {
  const TemporaryFolder folder;
  const PictureFolder pictures(folder / "p");
  PictureSet set = set_of(1);
  set.beside = {pictures.beside("grid")};
  io::write_file_synced(set.beside[0], std::string_view("a picture of mine"));
  EXPECT_TRUE(says(refusal(pictures, set, true), "p-grid.png: already exists"));
  fs::remove(set.beside[0]);
  PictureFolder::write_beside(set.beside[0], picture(3));
  EXPECT_TRUE(io::to_tensor(io::decode_image(io::read_file(set.beside[0]), "g")).equal(picture(3)));
  pictures.prepare(set, false);  // the folder was deleted, its grid is left
  fill(pictures, 1);
  set.settings = R"({"steps": 20})";
  pictures.prepare(set, true);
  EXPECT_FALSE(fs::exists(set.beside[0])) << "a grid of images that are gone";
}

TEST(PictureFolder, ThatCannotBeMadeIsNamed) {
  const TemporaryFolder folder;
  io::write_file_synced(folder / "file", std::string_view("x"));
  EXPECT_THROW(PictureFolder(folder / "file" / "below").prepare(set_of(1), false), IoError);
}

}  // namespace
}  // namespace ddpm::sample
