#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <gtest/gtest.h>

namespace ddpm::io {
namespace {

namespace fs = std::filesystem;

TEST(MakeFolder, MakesAllThatIsMissingAndLeavesWhatIsThere) {
  const TemporaryFolder folder;
  make_folder(folder / "a/b");
  write_file_synced(folder / "a/b/file", std::string_view("kept"));
  make_folder(folder / "a/b");
  EXPECT_EQ(read_text(folder / "a/b/file"), "kept");
}

TEST(MakeFolder, SaysWhyNotAndWhatToDo) {
  const TemporaryFolder folder;
  write_file_synced(folder / "file", std::string_view("in the way"));
  try {
    make_folder(folder / "file/a", "choose another with --out");
    FAIL();
  } catch (const IoError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("file/a: cannot be made: Not a directory; choose another with --out"),
              std::string::npos)
        << text;
  }
}

TEST(WriteFolderAtomic, LeavesTheWholeFolderOrNothing) {
  const TemporaryFolder folder;
  const auto fill = [](const std::filesystem::path& part) {
    write_file_synced(part / "file", std::string_view("x"));
  };
  const auto entries = [&] { return std::distance(fs::directory_iterator(folder.path()), {}); };
  EXPECT_THROW(write_folder_atomic(folder / "new",
                                   [&](const fs::path& part) {
                                     fill(part);
                                     throw IoError(part, "the disk is full");
                                   }),
               IoError);
  EXPECT_EQ(entries(), 0);
  write_folder_atomic(folder / "new", fill);
  EXPECT_EQ(read_text(folder / "new" / "file"), "x");
  EXPECT_EQ(entries(), 1);
}

TEST(WriteFolderAtomic, RefusesWhatExistsAndAPlaceThatDoesNot) {
  const TemporaryFolder folder;
  const auto error_of = [](const fs::path& destination) -> std::string {
    try {
      write_folder_atomic(destination, [](const fs::path&) { FAIL(); });
    } catch (const IoError& error) {
      return error.what();
    }
    return "";
  };
  fs::create_symlink("nowhere", folder / "link");
  EXPECT_NE(error_of(folder / "link").find("link: already exists; remove it"), std::string::npos);
  EXPECT_NE(error_of(folder / "a/b").find("there is no folder"), std::string::npos);
}

TEST(Filesystem, WalksAndRemovesATreeBesideLibTorch) {
  const TemporaryFolder folder;
  for (const char* name : {"a/b/c.png", "a/d.png", "e.png"})
    fixtures::write(folder / name, {1, 2, 3});
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
