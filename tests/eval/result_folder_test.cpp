#include "ddpm/eval/result_folder.h"

#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <gtest/gtest.h>

namespace ddpm::eval {
namespace {

TEST(ResultFolder, ResultsOfAnotherProtocolAreNotTouched) {
  const TemporaryFolder folder;
  claim_result_folder(folder / "r", "{\"num\": 10}");
  claim_result_folder(folder / "r", "{\"num\": 20}");  // nothing was measured under the first
  io::write_file_atomic(folder / "r/result.csv", "1");
  claim_result_folder(folder / "r", "{\"num\": 20}");
  EXPECT_CONTAINS(
      fixtures::message_of<IoError>([&] { claim_result_folder(folder / "r", "{\"num\": 10}"); }),
      "holds results of other settings");
  EXPECT_EQ(io::read_text(folder / "r/protocol.json"), "{\"num\": 20}\n");
}

TEST(ResultFolder, DefaultsDifferWithTheProtocol) {
  const auto folder = default_result_folder("runs/a", "sweep", "{\"num\": 10}");
  EXPECT_EQ(folder, default_result_folder("runs/a", "sweep", "{\"num\": 10}"));
  EXPECT_NE(folder, default_result_folder("runs/a", "sweep", "{\"num\": 20}"));
  EXPECT_EQ(folder.string().rfind("runs/a/sweep-", 0), 0u);
}

TEST(ResultFolder, FilesOfSomebodyElseAreNotTouched) {
  const TemporaryFolder folder;
  io::write_file_atomic(folder / "mine.csv", "1");
  EXPECT_CONTAINS(fixtures::message_of<IoError>([&] { claim_result_folder(folder.path(), "{}"); }),
                  "no protocol.json");
  EXPECT_FALSE(std::filesystem::exists(folder / "protocol.json"));
}

}  // namespace
}  // namespace ddpm::eval
