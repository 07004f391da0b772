#include "ddpm/base/error.h"
#include "src/data/catalogue.h"
#include "src/data/image_folder.h"
#include "tests/io/fixtures.h"
#include "tests/io/temporary_folder.h"

#include <chrono>
#include <filesystem>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::data {
namespace {

namespace fs = std::filesystem;
using fixtures::Bytes;
using fixtures::flat_pnm;
using fixtures::message_of;

int64_t brightest(const Dataset& set, int64_t index) {
  return set.get(index).image.max().item<int64_t>();
}

// An index makes the next opening look at nothing that it knows.
TEST(ImageSurvey, AnIndexSparesTheLook) {
  const TemporaryFolder folder;
  const auto image = [&](int i) { return folder / fmt::format("set/{}.ppm", i); };
  for (int i = 0; i < 4; ++i) fixtures::write(image(i), flat_pnm(4, 6, 3, 10));
  ImageOptions options;
  options.index = folder / "data.index";
  open_image_folder(folder / "set", options)->save_index(options.index);
  const auto written = fs::last_write_time(options.index);

  // The same size and time, but no image any more: only a look could tell.
  const auto time = fs::last_write_time(image(2));
  fixtures::write(image(2), Bytes(fs::file_size(image(2)), 'x'));
  fs::last_write_time(image(2), time);
  const auto again = open_image_folder(folder / "set", options);
  EXPECT_EQ(again->size(), 4);
  again->save_index(options.index);  // which knows all that
  EXPECT_EQ(fs::last_write_time(options.index), written);
  EXPECT_THROW(again->get(2), IoError);
  EXPECT_THROW(open_image_folder(folder / "set", {}), IoError);

  // Another time, another size, a new file, a file that is gone: these are looked at.
  fs::last_write_time(image(2), time + std::chrono::seconds(1));
  EXPECT_CONTAINS(message_of<IoError>([&] { open_image_folder(folder / "set", options); }),
                  "2.ppm");
  fixtures::write(image(2), flat_pnm(5, 6, 3, 10));
  EXPECT_CONTAINS(message_of<IoError>([&] { open_image_folder(folder / "set", options); }),
                  "2.ppm: is 5x6");
  fs::remove(image(2));
  fixtures::write(image(7), flat_pnm(4, 6, 3, 70));
  const auto changed = open_image_folder(folder / "set", options);
  ASSERT_EQ(changed->size(), 4);
  EXPECT_EQ(brightest(*changed, 3), 70);

  // A damaged index is made anew.
  Bytes bytes = fixtures::read(options.index);
  bytes[bytes.size() / 2] ^= 1;
  fixtures::write(options.index, bytes);
  const auto rebuilt = open_image_folder(folder / "set", options);
  EXPECT_EQ(rebuilt->size(), 4);
  rebuilt->save_index(options.index);
  ASSERT_TRUE(read_catalogue(options.index).has_value());
  EXPECT_EQ(read_catalogue(options.index)->files.size(), 4u);
}

// What was found by decoding is known, whether good or bad; what a header told is decoded once
// more.
TEST(ImageSurvey, AnIndexKnowsHowFarItHasLooked) {
  const TemporaryFolder folder;
  fixtures::write(folder / "set/1.ppm", flat_pnm(200, 200, 3, 10));
  Bytes cut = flat_pnm(200, 200, 3, 20);
  cut.resize(100000);
  fixtures::write(folder / "set/2.ppm", cut);
  const auto open = [&](BadImages bad) {
    ImageOptions options{ImageSize{8, 8}, 0, bad};
    options.index = folder / "data.index";
    auto set = open_image_folder(folder / "set", options);
    set->save_index(options.index);
    return set->size();
  };
  const auto problem = [&] { return read_catalogue(folder / "data.index")->files[1].problem; };
  EXPECT_EQ(open(BadImages::kError), 2);
  EXPECT_EQ(problem(), "");
  EXPECT_EQ(open(BadImages::kSkip), 1);
  EXPECT_CONTAINS(problem(), "is cut short");
  EXPECT_EQ(open(BadImages::kSkip), 1);
  EXPECT_EQ(open(BadImages::kError), 2);
}

// One of several processes looks; the others take its word, but for a few sizes.
TEST(ImageSurvey, ProcessesShareOneLook) {
  const TemporaryFolder folder;
  for (const char* place : {"a", "b"}) {
    for (int i = 0; i < 3; ++i)
      fixtures::write(folder / fmt::format("{}/{}.ppm", place, i), flat_pnm(4, 6, 3, 10 * i));
  }
  std::vector<uint8_t> sent;
  ImageOptions main, other;
  main.share = [&](const auto& make) { return sent = make(); };
  other.share = [&](const auto&) { return sent; };
  const auto of_main = open_image_folder(folder / "a", main);
  fixtures::write(folder / "b/9.ppm", flat_pnm(4, 6, 3, 90));  // nobody asks
  const auto of_other = open_image_folder(folder / "b", other);
  ASSERT_EQ(of_other->size(), 3);
  EXPECT_EQ(brightest(*of_other, 2), 20);
  EXPECT_EQ(of_other->fingerprint(), of_main->fingerprint());
  fixtures::write(folder / "b/1.ppm", flat_pnm(5, 6, 3, 10));
  EXPECT_CONTAINS(message_of<IoError>([&] { open_image_folder(folder / "b", other); }),
                  "b/1.ppm: has 101 bytes, but 83 for rank 0; give all processes the same data");
  fs::remove(folder / "b/1.ppm");
  EXPECT_CONTAINS(message_of<IoError>([&] { open_image_folder(folder / "b", other); }),
                  "b/1.ppm: does not exist, but it does for rank 0");
}

}  // namespace
}  // namespace ddpm::data
