#include "ddpm/io/folder.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "tests/io/temporary_folder.h"

#include <gtest/gtest.h>

namespace ddpm::io {
namespace {

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

}  // namespace
}  // namespace ddpm::io
