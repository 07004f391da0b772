#include "ddpm/base/error.h"
#include "ddpm/io/file.h"
#include "ddpm/io/image.h"
#include "ddpm/io/png.h"
#include "tests/io/temporary_folder.h"

#include <string>
#include <string_view>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::io::png_text_test {
namespace {

const std::filesystem::path kGolden = DDPM_SOURCE_DIR "/tests/golden/png_texts.png";

std::string repeated(std::string_view text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

// scripts/make_png_golden.py: written by Pillow.
TEST(PngText, ReadsEveryKindThatPillowWrites) {
  const std::vector<PngText> texts = png_texts(read_file(kGolden), "golden");
  ASSERT_EQ(texts.size(), 4u);
  EXPECT_EQ(texts[0], (PngText{"Title", "caf\xC3\xA9"}));
  EXPECT_EQ(texts[1], (PngText{"Long", repeated("ab", 300)}));
  EXPECT_EQ(texts[2], (PngText{"Comment", "\xCE\xB2 = 0.02"}));
  EXPECT_EQ(texts[3], (PngText{"ddpm", repeated(R"({"image": 3})", 50)}));
}

TEST(PngText, ReadsBackWhatItWroteAndThePixelsStay) {
  const torch::Tensor pixels = torch::arange(24, torch::kByte).view({3, 2, 4});
  const std::vector<PngText> texts{{"Comment", "ddpm sample --class 'Bl\xC3\xBCte'"},
                                   {"ddpm", "{}"}};
  const std::vector<uint8_t> png = with_png_texts(encode_png(pixels), texts);
  EXPECT_EQ(png_texts(png, "test"), texts);
  EXPECT_TRUE(to_tensor(decode_image(png, "test")).equal(pixels));
  EXPECT_EQ(with_png_texts(encode_png(pixels), {}), encode_png(pixels));
}

TEST(PngText, DamageIsPassedOverOrNamed) {
  std::vector<uint8_t> png = with_png_texts(encode_png(torch::zeros({1, 1, 1}, torch::kByte)),
                                            {{"a", "first"}, {"b", "second"}});
  std::vector<uint8_t> changed = png;
  changed[33 + 8 + 6] ^= 1;  // a letter of the first text: its checksum does not fit
  EXPECT_EQ(png_texts(changed, "test"), (std::vector<PngText>{{"b", "second"}}));
  png.resize(png.size() - 3);
  EXPECT_THROW(png_texts(png, "test"), IoError);
  EXPECT_THROW(png_texts({}, "test"), IoError);
  std::vector<uint8_t> long_text = with_png_texts(encode_png(torch::zeros({1, 1, 1}, torch::kByte)),
                                                  {{"a", std::string(2 << 20, 'x')}});
  EXPECT_TRUE(png_texts(long_text, "test").empty());
}

TEST(PngText, AFileBeginsLikeAPngOrNot) {
  const TemporaryFolder folder;
  write_file_synced(folder / "short", std::string_view("\x89PNG"));
  EXPECT_TRUE(begins_like_png(kGolden));
  EXPECT_FALSE(begins_like_png(folder / "short"));
  EXPECT_FALSE(begins_like_png(folder / "none"));
  EXPECT_FALSE(begins_like_png(folder.path()));
}

}  // namespace
}  // namespace ddpm::io::png_text_test
