#include "src/report/sample_grids.h"

#include "ddpm/io/file.h"
#include "ddpm/io/image.h"
#include "src/report/base64.h"
#include "tests/io/temporary_folder.h"

#include <string_view>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::report {
namespace {

namespace fs = std::filesystem;

// RFC 4648, Section 10.
TEST(Base64, HasTheTestVectors) {
  const auto of = [](std::string_view text) {
    return base64({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  };
  EXPECT_EQ(of(""), "");
  EXPECT_EQ(of("f"), "Zg==");
  EXPECT_EQ(of("fo"), "Zm8=");
  EXPECT_EQ(of("foo"), "Zm9v");
  EXPECT_EQ(of("foob"), "Zm9vYg==");
  EXPECT_EQ(of("fooba"), "Zm9vYmE=");
  EXPECT_EQ(of("foobar"), "Zm9vYmFy");
  EXPECT_EQ(of("\xFF\xFE\xFD"), "//79");
}

class SampleGrids : public testing::Test {
 protected:
  void SetUp() override { fs::create_directory(run_ / "samples"); }
  void write(int64_t step, const std::string& weights) {
    io::write_png(run_ / fmt::format("samples/step-{:09}-{}.png", step, weights),
                  torch::full({1, 2, 2}, step % 256, torch::kByte));
  }
  TemporaryFolder run_;
  std::vector<std::string> warnings_;
};

TEST_F(SampleGrids, AreByStepWithRawWeightsFirst) {
  for (const char* weights : {"ema-2", "ema", "raw"}) write(800, weights);
  write(40, "raw");
  for (const char* other : {"step-1.png", "step-00000000x-raw.png", "notes.txt",
                            "step-000000001-raw.png", "step-99999999999999999999-raw.png"})
    io::write_file_synced(run_ / "samples" / other, std::string_view("no picture"));
  const auto grids = sample_grids(run_.path(), 10, 1 << 20, warnings_);
  ASSERT_EQ(grids.size(), 2u);
  EXPECT_EQ(grids[0]["step"], 40);
  ASSERT_EQ(grids[1]["pictures"].size(), 3u);
  EXPECT_EQ(grids[1]["pictures"][0]["weights"], "raw");
  EXPECT_EQ(grids[1]["pictures"][2]["weights"], "ema-2");
  const auto file = io::read_file(run_ / "samples/step-000000800-ema.png");
  EXPECT_EQ(grids[1]["pictures"][1]["src"], "data:image/png;base64," + base64(file));
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(SampleGrids, OfTooManyTheLastIsKept) {
  for (int64_t step = 1; step <= 10; ++step) write(step, "raw");
  const auto grids = sample_grids(run_.path(), 4, 1 << 20, warnings_);
  ASSERT_EQ(grids.size(), 4u);  // every third from the last
  EXPECT_EQ(grids[0]["step"], 1);
  EXPECT_EQ(grids[3]["step"], 10);
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_NE(warnings_[0].find("4 of 10 steps"), std::string::npos) << warnings_[0];
  EXPECT_EQ(sample_grids(run_.path(), 10, 1, warnings_).size(), 1u) << "too many bytes";
  EXPECT_TRUE(sample_grids(run_ / "none", 10, 1, warnings_).empty());
}

}  // namespace
}  // namespace ddpm::report
