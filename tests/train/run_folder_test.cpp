#include "ddpm/train/run_folder.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <set>

#include <gtest/gtest.h>

namespace ddpm::train {
namespace {

namespace fs = std::filesystem;

class RunFolder : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) {
    fs::create_directories((folder_ / name).parent_path());
    io::write_file_synced(folder_ / name, text);
  }
  std::string text(const std::string& name) { return io::read_text(folder_ / name); }
  std::set<std::string> names(const std::string& run) {
    std::set<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_ / run))
      found.insert(entry.path().filename().string());
    return found;
  }
  /// What check_run_folder says of a new run.
  std::string complaint(const fs::path& run, const fs::path& images,
                        const std::string& kind = "auto") {
    data::DataConfig data;
    data.kind = kind;
    data.path = images;
    try {
      check_run_folder(run, data);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  void write_images(const std::string& name) {
    fixtures::write(folder_ / name / "a.pgm", fixtures::flat_pnm(4, 4, 1, 1));
  }

  TemporaryFolder folder_;
};

TEST_F(RunFolder, AConfigThatAUserWroteIsNotReplaced) {
  data::DataConfig data;
  data.kind = "procedural";
  write("mine/config.toml", "# mine\n[run]\nseed = 1\n");
  EXPECT_THROW(check_run_folder(folder_ / "mine", data), IoError);
  write("lines/metrics.jsonl", "{}\n");
  EXPECT_THROW(check_run_folder(folder_ / "lines", data), IoError);
  check_run_folder(folder_ / "new", data);
  EXPECT_FALSE(fs::exists(folder_ / "new"));
  write("run/config.toml", "[run]\n");
  write("run/run.lock", "process 1\n");
  check_run_folder(folder_ / "run", data);
}

TEST_F(RunFolder, ImagesAndRunDoNotLieWithinEachOther) {
  write_images("photos");
  const std::string images = folder_ / "photos";
  EXPECT_NE(complaint(folder_ / "photos/run", images).find("lies in data.path"), std::string::npos);
  EXPECT_NE(complaint(folder_ / "photos", images + "/").find("lies in data.path"),
            std::string::npos);
  EXPECT_NE(complaint(folder_.path(), images).find("holds data.path"), std::string::npos);
  EXPECT_NE(complaint(folder_ / "photos/../photos/x/", images), "");
  fs::create_directory_symlink(folder_ / "photos", folder_ / "link");
  EXPECT_NE(complaint(folder_ / "link/run", images), "");
  EXPECT_EQ(complaint(folder_ / "photos-run", images), "") << "a longer name is another folder";
  EXPECT_EQ(complaint(folder_ / "runs/mine", images), "");
}

TEST_F(RunFolder, ArraysMayLieAnywhere) {
  write("mnist/train-images-idx3-ubyte", "");
  EXPECT_EQ(complaint(folder_ / "mnist/run", folder_ / "mnist"), "");
  write("pictures.npy", "");
  EXPECT_EQ(complaint(folder_.path(), folder_ / "pictures.npy"), "");
  EXPECT_EQ(complaint(folder_.path(), "", "procedural"), "");
}

TEST_F(RunFolder, ARunThatExistsGoesOnWhereverItLies) {
  write_images("photos");
  write("photos/run/run.lock", "process 1\n");
  EXPECT_EQ(complaint(folder_ / "photos/run", folder_ / "photos"), "");
}

TEST_F(RunFolder, TheFormerConfigIsKeptWithTheStepOfTheChange) {
  write("run/config.toml", "old");
  write_run_config(folder_ / "run", 12, "old", true, "new");
  EXPECT_EQ(text("run/config.toml"), "new");
  EXPECT_EQ(text("run/config-until-step-000000012.toml"), "old");
  write_run_config(folder_ / "run", 12, "old", true, "newest");  // nothing was trained with "new"
  EXPECT_EQ(text("run/config-until-step-000000012.toml"), "old");
  write_run_config(folder_ / "run", 12, "other", true, "newest");
  EXPECT_EQ(text("run/config-until-step-000000012.toml"), "old");
  EXPECT_EQ(text("run/config-until-step-000000012-2.toml"), "other");
}

TEST_F(RunFolder, NothingIsKeptWhereOnlyKeysWithDefaultsWereAdded) {
  write("run/config.toml", "old");
  write_run_config(folder_ / "run", 12, "old", false, "old, and a key");
  EXPECT_EQ(names("run"), (std::set<std::string>{"config.toml"}));
  EXPECT_EQ(text("run/config.toml"), "old, and a key");
}

TEST_F(RunFolder, AnEditedConfigIsKeptToo) {
  write("run/config.toml", "# lower\nnew = 1");
  write_run_config(folder_ / "run", 12, "old", true, "new = 1");
  EXPECT_EQ(text("run/config.toml"), "new = 1");
  EXPECT_EQ(text("run/config-given-step-000000012.toml"), "# lower\nnew = 1");
  EXPECT_EQ(text("run/config-until-step-000000012.toml"), "old");
}

}  // namespace
}  // namespace ddpm::train
