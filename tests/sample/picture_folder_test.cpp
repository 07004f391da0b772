#include "ddpm/sample/picture_folder.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "ddpm/io/image.h"
#include "tests/io/temporary_folder.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::sample {
namespace {

using Before = PictureFolder::Before;
namespace fs = std::filesystem;

const std::string kSettings = R"({"steps": 50, "seed": 0})";

torch::Tensor picture(int64_t value) { return torch::full({3, 2, 4}, value, torch::kUInt8); }

TEST(PictureFolder, ReadsBackWhatItWrote) {
  const TemporaryFolder folder;
  const PictureFolder pictures(folder / "a" / "b", kSettings, Before::kReplace);
  pictures.write(12, picture(200));
  EXPECT_EQ(pictures.file_of(12).filename(), "000012.png");
  EXPECT_TRUE(pictures.read(12).equal(picture(200)));
}

TEST(PictureFolder, MissesWhatIsAbsentCutShortOrOfAnotherSize) {
  const TemporaryFolder folder;
  const PictureFolder pictures(folder.path(), kSettings, Before::kReplace);
  for (const int64_t i : {0, 1, 2}) pictures.write(i, picture(i));
  fs::resize_file(pictures.file_of(1), fs::file_size(pictures.file_of(1)) - 5);
  io::write_png(pictures.file_of(2), torch::zeros({3, 4, 4}, torch::kUInt8));
  EXPECT_EQ(pictures.missing({0, 1, 2, 3}, {3, 2, 4}), (std::vector<int64_t>{1, 2, 3}));
}

TEST(PictureFolder, OtherSettingsReplaceOnlyPicturesThatItDrew) {
  const TemporaryFolder folder;
  io::write_file_synced(folder / "holiday.png", std::string_view("mine"));
  PictureFolder(folder.path(), kSettings, Before::kReplace).write(3, picture(1));
  EXPECT_TRUE(fs::exists(folder / "000003.png"));
  PictureFolder(folder.path(), kSettings, Before::kReplace);
  EXPECT_TRUE(fs::exists(folder / "000003.png")) << "the same settings draw the same picture";
  PictureFolder(folder.path(), R"({"steps": 20, "seed": 0})", Before::kReplace);
  EXPECT_FALSE(fs::exists(folder / "000003.png"));
  EXPECT_TRUE(fs::exists(folder / "holiday.png"));
}

TEST(PictureFolder, KeepingPicturesOfOtherSettingsIsAnErrorThatNamesOne) {
  const TemporaryFolder folder;
  PictureFolder(folder.path(), kSettings, Before::kReplace).write(3, picture(1));
  try {
    PictureFolder(folder.path(), R"({"steps": 20, "seed": 0})", Before::kKeep);
    FAIL() << "accepted";
  } catch (const IoError& error) {
    EXPECT_NE(std::string(error.what()).find("steps 50, now 20"), std::string::npos)
        << error.what();
  }
  EXPECT_TRUE(fs::exists(folder / "000003.png"));
}

TEST(PictureFolder, ThatCannotBeMadeIsNamed) {
  const TemporaryFolder folder;
  io::write_file_synced(folder / "file", std::string_view("x"));
  EXPECT_THROW(PictureFolder(folder / "file" / "below", kSettings, Before::kReplace), IoError);
}

}  // namespace
}  // namespace ddpm::sample
