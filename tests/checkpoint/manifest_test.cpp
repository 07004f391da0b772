#include "ddpm/checkpoint/manifest.h"

#include "ddpm/base/error.h"
#include "tests/checkpoint/published.h"

#include <string>

#include <gtest/gtest.h>

namespace ddpm::checkpoint {
namespace {

TEST(Manifest, IsReadBackAndRefusesEveryOtherText) {
  const Manifest manifest{12000, {{"model.safetensors", {143005184, 0x9AE0DAAF}}, {"a", {0, 0}}}};
  const std::string text = to_text(manifest);
  EXPECT_TRUE(
      text.starts_with("ddpm-checkpoint 1\nstep 12000\nfile 143005184 9ae0daaf "
                       "model.safetensors\nfile 0 00000000 a\n"
                       "crc32c "));
  const Manifest back = parse_manifest("M", text);
  EXPECT_EQ(back.step, 12000);
  EXPECT_EQ(back.files, manifest.files);
  for (size_t i = 0; i < text.size(); ++i) {
    EXPECT_THROW(parse_manifest("M", text.substr(0, i)), IoError) << i;
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = text;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      EXPECT_THROW(parse_manifest("M", damaged), IoError) << i << ' ' << bit;
    }
  }
  EXPECT_THROW(parse_manifest("M", text + "\n"), IoError);
}

// With a checksum that fits: a manifest may not reach outside its folder.
TEST(Manifest, FileNamesStayInTheFolder) {
  for (const std::string name : {"../x", "/etc/passwd", "a/b", "."}) {
    EXPECT_THROW(parse_manifest("M", to_text({1, {{name, {0, 0}}}})), IoError) << name;
  }
}

}  // namespace
}  // namespace ddpm::checkpoint
