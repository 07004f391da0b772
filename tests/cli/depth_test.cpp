// More than 8 bits per channel, and more than 4 channels.
#include "ddpm/diffusion/image_range.h"
#include "ddpm/io/image.h"
#include "ddpm/io/npy.h"
#include "ddpm/io/safetensors.h"
#include "tests/cli/fixture.h"

#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::cli::depth_test {
namespace {

namespace fs = std::filesystem;

class Depth : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    torch::manual_seed(1);
    fs::create_directory(folder_ / "scans");
    for (int64_t i = 0; i < 20; ++i)
      io::write_png(folder_ / "scans" / fmt::format("{:02}.png", i),
                    torch::randint(0, 65536, {1, 8, 8}, torch::kInt));
    const torch::Tensor spectra = torch::randint(0, 4096, {20, 7, 8, 8}, torch::kInt);
    io::replace_file(folder_ / "spectra.npy", io::encode_npy(spectra.to(torch::kUInt16)));
  }

  std::vector<std::string> of_files(const std::string& path, std::vector<std::string> more = {}) {
    std::vector<std::string> flags{"--set", "data.kind=auto",   "--set", "data.path=" + path,
                                   "--set", "data.channels=0",  "--set", "data.depth=16",
                                   "--set", "data.layout=nchw", "--set", "data.range=auto"};
    flags.insert(flags.end(), more.begin(), more.end());
    return flags;
  }
  torch::Tensor tensors(const std::string& file) {
    return io::SafetensorsFile::open(folder_ / file).get("samples");
  }
  void sample(std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"sample", "--num", "4", "--steps", "3", "--ddim"});
    const ProgramResult result = run(flags);
    ASSERT_EQ(result.status, 0) << result.err;
  }
};

TEST_F(Depth, SixteenBitsAreTrainedOnAndSampled) {
  train("runs/deep", of_files("scans"));
  sample({"--ckpt", "runs/deep", "--out", "deep", "--save-tensors", "x.safetensors"});
  const torch::Tensor x = tensors("x.safetensors");
  for (int64_t i = 0; i < 4; ++i) {
    const auto png = io::read_file(folder_ / fmt::format("deep/{:06}.png", i));
    EXPECT_TRUE(io::image_info(png, "x").deep);
    const torch::Tensor values = io::decode_levels(png, "x").mul(257).round().to(torch::kInt);
    EXPECT_TRUE(values.equal(diffusion::to_16_bit(x[i])));
  }
  EXPECT_FALSE(io::image_info(io::read_file(folder_ / "deep-grid.png"), "x").deep);

  // The other depth is another set of pictures.
  expect_error({"sample", "--ckpt", "runs/deep", "--num", "4", "--steps", "3", "--ddim", "--out",
                "deep", "--depth", "8"},
               1, "holds 4 images of other settings (depth 16, now 8)");
  sample({"--ckpt", "runs/deep", "--out", "flat", "--depth", "8"});
  const auto flat = io::read_file(folder_ / "flat/000002.png");
  EXPECT_TRUE(io::decode_levels(flat, "x").equal(diffusion::to_uint8(x[2])));
  fs::remove(folder_ / "deep/000001.png");
  sample({"--ckpt", "runs/deep", "--out", "deep", "--continue"});
  EXPECT_TRUE(fs::exists(folder_ / "deep/000001.png"));

  const ProgramResult likelihood =
      run({"eval", "likelihood", "--ckpt", "runs/deep", "--num", "4", "--json"});
  EXPECT_EQ(likelihood.status, 0) << likelihood.err;
}

// 12 steps at once, and 8 and then the rest, are the same to the bit; and they are not those of 8
// bits.
TEST_F(Depth, ARunIsResumedBitForBit) {
  train("runs/whole", of_files("scans"));
  train("runs/parts",
        of_files("scans", {"--set", "train.steps=8", "--set", "optimizer.decay=constant"}));
  train("runs/other", of_files("scans", {"--set", "optimizer.decay=constant"}));
  train("runs/parts", of_files("scans", {"--set", "optimizer.decay=constant"}));
  expect_same_tensors(checkpoint("runs/other", 12), checkpoint("runs/parts", 12));
  std::vector<std::string> rounded = of_files("scans");
  rounded[7] = "data.depth=8";
  train("runs/rounded", rounded);
  EXPECT_NE(io::read_file(checkpoint("runs/whole", 12) / "model.safetensors"),
            io::read_file(checkpoint("runs/rounded", 12) / "model.safetensors"));
}

TEST_F(Depth, ManyChannelsAreArrays) {
  train("runs/spectra", of_files("spectra.npy", {"--set", "data.range=0_4095"}));
  EXPECT_TRUE(fs::exists(folder_ / "runs/spectra/report.html"));
  sample({"--ckpt", "runs/spectra", "--out", "a", "--save-tensors", "x.safetensors"});
  const torch::Tensor x = tensors("x.safetensors");
  EXPECT_EQ(x.sizes(), (torch::IntArrayRef{4, 7, 8, 8}));
  const torch::Tensor first = io::read_npy(folder_ / "a/000000.npy");  // uint16, widened
  EXPECT_TRUE(first.equal(diffusion::to_16_bit(x[0]).permute({1, 2, 0})));
  sample({"--ckpt", "runs/spectra", "--out", "b", "--depth", "8", "--animate", "--trajectory"});
  EXPECT_TRUE(
      io::read_npy(folder_ / "b/000003.npy").equal(diffusion::to_uint8(x[3]).permute({1, 2, 0})));
  for (const char* file : {"b-grid.png", "b-animation.png", "b-trajectory.png"})
    EXPECT_TRUE(fs::exists(folder_ / file)) << file;
  const ProgramResult data = run({"data", "--config", "tiny.toml", "--set", "data.kind=auto",
                                  "--set", "data.path=spectra.npy", "--set", "data.channels=0",
                                  "--set", "data.layout=nchw", "--out", "seen.png"});
  EXPECT_EQ(data.status, 0) << data.err;
  EXPECT_NE(data.out.find("set data.range = \"0_4095\" if 4095 is white"), std::string::npos)
      << data.out;
  fs::copy_file(folder_ / "scans/00.png", folder_ / "one.png");
  expect_error({"edit", "--ckpt", "runs/spectra", "--image", "one.png", "--strength", "0.5"}, 1,
               "one.png: is an image file, which has 1 to 4 channels");
}

TEST_F(Depth, WrongValuesAreOneLine) {
  const auto refused = [&](const std::string& setting, const std::string& text) {
    expect_error({"train", "--config", "tiny.toml", "--out", "runs/x", "--set", setting}, 2, text);
  };
  refused("data.depth=12", "is 12; use 8, or 16 to keep 16 bits and floats");
  refused("data.range=4095", "is \"4095\"; use \"auto\", or \"LOW_HIGH\"");
  refused("data.channels=17", "data.channels");
  refused("data.channels=5", "is 5; procedural images have 1 (grey) or 3 (RGB)");
}

}  // namespace
}  // namespace ddpm::cli::depth_test
