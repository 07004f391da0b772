#include "src/data/catalogue.h"

#include "ddpm/base/error.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <gtest/gtest.h>

namespace ddpm::data {
namespace {

Catalogue example() {
  Catalogue catalogue;
  catalogue.files = {
      {"a/1.png", 1000, 123'456'789'012'345'678, Check::kHeader, {3, 4, 4, true}, ""},
      {std::string("new\nline\xE9.jpg"),
       uint64_t{1} << 40,
       -1,
       Check::kDecoded,
       {},
       "is cut short"},
      {"z.png", 0, 0, Check::kNone, {}, ""}};
  catalogue.passed_over = {{"", 2}, {".gif", 3}};
  catalogue.remarks = {"a link"};
  return catalogue;
}

TEST(Catalogue, BytesHoldAllOfIt) {
  EXPECT_EQ(catalogue_of(to_bytes(example())), example());
  EXPECT_EQ(catalogue_of(to_bytes({})), Catalogue{});
}

TEST(Catalogue, DamagedBytesAreNone) {
  const std::vector<uint8_t> whole = to_bytes(example());
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(catalogue_of({whole.data(), size}).has_value()) << size;
  for (size_t i = 0; i < whole.size(); ++i) {
    std::vector<uint8_t> flipped = whole;
    flipped[i] ^= 0x10;
    EXPECT_FALSE(catalogue_of(flipped).has_value()) << i;
  }
}

TEST(Catalogue, FilesThatHaveChangedAreNotKnown) {
  const Catalogue before = example();
  Catalogue now;
  now.files = {{"a/0.png", 1000, 1}, {"a/1.png", 1000, 123'456'789'012'345'678}, {"z.png", 1, 0}};
  EXPECT_EQ(take_known(now, before), 1);
  EXPECT_EQ(now.files[0].check, Check::kNone);
  EXPECT_EQ(now.files[1], before.files[0]);
  EXPECT_EQ(now.files[2].size, 1u);
}

TEST(Catalogue, AFileIsReplacedAsOneStep) {
  const TemporaryFolder folder;
  EXPECT_FALSE(read_catalogue(folder / "data.index").has_value());
  write_catalogue(folder / "data.index", example());
  EXPECT_EQ(read_catalogue(folder / "data.index"), example());
  write_catalogue(folder / "data.index", {});
  EXPECT_EQ(read_catalogue(folder / "data.index"), Catalogue{});
  fixtures::write(folder / "data.index", fixtures::from_text("no index"));
  EXPECT_FALSE(read_catalogue(folder / "data.index").has_value());
  EXPECT_THROW(write_catalogue(folder / "none/data.index", {}), IoError);
}

}  // namespace
}  // namespace ddpm::data
