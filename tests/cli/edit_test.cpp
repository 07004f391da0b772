#include "ddpm/diffusion/condition.h"
#include "ddpm/io/image.h"
#include "ddpm/io/safetensors.h"
#include "tests/cli/fixture.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <limits>

#include <nlohmann/json.hpp>

namespace ddpm {
namespace {

namespace fs = std::filesystem;

/// A trained network of 8x8 grey images, two images of it, and a mask of its right half.
class Edit : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    train("runs/tiny");
    for (int64_t i = 0; i < 2; ++i)
      io::write_png(folder_ / fmt::format("{}.png", i), (image() + i * 40).to(torch::kByte));
    torch::Tensor mask = torch::zeros({1, 8, 8}, torch::kByte);
    mask.narrow(2, 4, 4).fill_(255);
    io::write_png(folder_ / "mask.png", mask);
  }
  static torch::Tensor image() { return torch::arange(64).view({1, 8, 8}) * 2 + 30; }

  /// Runs a command that must succeed; its --json.
  nlohmann::json json_of(std::vector<std::string> flags) {
    flags.emplace_back("--json");
    const ProgramResult result = run(flags);
    EXPECT_EQ(result.status, 0) << result.err;
    return nlohmann::json::parse(result.out);
  }
  /// The images that such a command wrote: int64 [N,C,H,W].
  torch::Tensor images_of(const nlohmann::json& json) {
    std::vector<torch::Tensor> images;
    for (const std::string file : json.at("files"))
      images.push_back(io::to_tensor(io::decode_image(io::read_file(folder_ / file), file)));
    return torch::stack(images).to(torch::kLong);
  }
  void refused(std::vector<std::string> flags, int status, const std::string& why) {
    const ProgramResult result = run(flags);
    EXPECT_EQ(result.status, status) << result.err;
    EXPECT_NE(result.err.find(why), std::string::npos) << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
};

TEST_F(Edit, WeakEditsStayNearTheImageAndStrongOnesDoNot) {
  const auto edited = [&](const std::string& strength) {
    return images_of(json_of({"edit", "--image", "0.png", "1.png", "--strength", strength, "--num",
                              "4", "--steps", "20", "--ddim"}));
  };
  const torch::Tensor weak = edited("0.05"), strong = edited("1");
  ASSERT_EQ(weak.sizes(), (torch::IntArrayRef{4, 1, 8, 8}));
  const auto off = [&](const torch::Tensor& images, int64_t i) {
    return (images[i] - image() - i % 2 * 40).abs().to(torch::kDouble).mean().item<double>();
  };
  for (int64_t i = 0; i < 4; ++i) EXPECT_LT(off(weak, i), 10.0) << i;
  for (int64_t i = 0; i < 4; ++i) EXPECT_GT(off(strong, i), 2 * off(weak, i)) << i;
  EXPECT_FALSE(torch::equal(weak[0], weak[2])) << "the same image with other noise";
  const torch::Tensor analytic =
      images_of(json_of({"edit", "--image", "0.png", "--strength", "0.5", "--sigma", "analytic"}));
  EXPECT_EQ(analytic.size(0), 1);
}

// What was missing is what it was, whatever the images begin with.
TEST_F(Edit, ContinueFillsInWhatIsMissing) {
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{
           {"edit", "--image", "0.png", "1.png", "--strength", "0.5"},
           {"inpaint", "--image", "0.png", "1.png", "--mask", "mask.png", "--rounds", "1"},
           {"restore", "--image", "0.png", "1.png", "--blur", "1", "--ddim"},
           {"interpolate", "--between", "0,1", "--frames", "5", "--ddim"}}) {
    std::vector<std::string> flags = command;
    for (const char* more : {"--steps", "5", "--batch", "1", "--out", "whole"})
      flags.emplace_back(more);
    if (command[0] != "interpolate") flags.insert(flags.end(), {"--num", "5"});
    const torch::Tensor whole = images_of(json_of(flags));
    for (const char* gone : {"whole/000001.png", "whole/000004.png"})
      std::filesystem::remove(folder_ / gone);
    flags.emplace_back("--continue");
    const nlohmann::json json = json_of(flags);
    EXPECT_EQ(json.at("images"), 2) << command[0];
    EXPECT_EQ(json.at("kept"), 3) << command[0];
    EXPECT_TRUE(torch::equal(images_of(json), whole)) << command[0];
    flags.emplace_back("--overwrite");
    refused(flags, 2, "--continue keeps the images that --overwrite deletes");
    std::filesystem::remove_all(folder_ / "whole");
  }
}

TEST_F(Edit, InpaintingChangesTheMaskedPixelsAlone) {
  const torch::Tensor filled =
      images_of(json_of({"inpaint", "--image", "0.png", "--mask", "mask.png", "--num", "3",
                         "--steps", "5", "--rounds", "2"}));
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(torch::equal(filled[i].narrow(2, 0, 4), image().narrow(2, 0, 4))) << i;
    EXPECT_FALSE(torch::equal(filled[i].narrow(2, 4, 4), image().narrow(2, 4, 4))) << i;
  }
  EXPECT_FALSE(torch::equal(filled[0], filled[1]));
}

TEST_F(Edit, EncodedImagesAreDecodedByTheCommandItNames) {
  const auto few = json_of({"encode", "--image", "0.png", "1.png", "--steps", "4"});
  const auto all = json_of({"encode", "--image", "0.png", "1.png"});
  const auto psnr = [](const nlohmann::json& json, size_t i) {  // null: no error at all
    const auto& value = json.at("psnr")[i];
    return value.is_null() ? std::numeric_limits<double>::infinity() : value.get<double>();
  };
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_GE(psnr(all, i), psnr(few, i));
    EXPECT_GT(psnr(all, i), 25.0);
  }
  const torch::Tensor decoded = images_of(json_of({"sample", "--ddim", "--steps", "20", "--clip",
                                                   "none", "--init-noise", "noise.safetensors"}));
  EXPECT_LT((decoded[1] - image() - 40).abs().to(torch::kDouble).mean().item<double>(), 15.0);
  const auto between =
      images_of(json_of({"interpolate", "--init-noise", "noise.safetensors", "--between", "0,1",
                         "--frames", "3", "--ddim", "--steps", "20", "--clip", "none"}));
  refused({"interpolate", "--init-noise", "noise.safetensors", "--between", "5:0,1"}, 2,
          "--between 5:0: a seed cannot be combined with a noise file");
  EXPECT_TRUE(torch::equal(between[0], decoded[0]));
  EXPECT_TRUE(torch::equal(between[2], decoded[1]));
}

TEST_F(Edit, InterpolationBeginsAndEndsAtTheSeedsImages) {
  const std::vector<std::string> how{"--ddim", "--steps", "5", "--seed", "7"};
  std::vector<std::string> sample{"sample", "--num", "4"};
  sample.insert(sample.end(), how.begin(), how.end());
  const torch::Tensor plain = images_of(json_of(sample));
  std::vector<std::string> interpolate{"interpolate", "--between", "1,3,2", "--frames", "4"};
  interpolate.insert(interpolate.end(), how.begin(), how.end());
  const torch::Tensor path = images_of(json_of(interpolate));
  ASSERT_EQ(path.size(0), 7);
  const std::vector<std::pair<int64_t, int64_t>> ends{{0, 1}, {3, 3}, {6, 2}};
  for (const auto& [frame, number] : ends)  // batches of other sizes round in another way
    EXPECT_LE((path[frame] - plain[number]).abs().max().item<int64_t>(), 1) << frame;
}

// Each row of the noise is that of its own seed.
TEST_F(Edit, InterpolationLeadsFromOneSeedToAnother) {
  const std::vector<std::string> how{"--ddim", "--steps", "5", "--num", "3"};
  const auto plain = [&](const std::string& seed) {
    std::vector<std::string> sample{"sample", "--seed", seed};
    sample.insert(sample.end(), how.begin(), how.end());
    return images_of(json_of(sample));
  };
  const nlohmann::json json = json_of({"interpolate", "--between", "4:1,6:2,0", "--frames", "3",
                                       "--seed", "5", "--ddim", "--steps", "5"});
  const torch::Tensor path = images_of(json);
  ASSERT_EQ(path.size(0), 5);
  EXPECT_LE((path[0] - plain("4")[1]).abs().max().item<int64_t>(), 1);
  EXPECT_LE((path[2] - plain("6")[2]).abs().max().item<int64_t>(), 1);
  EXPECT_LE((path[4] - plain("5")[0]).abs().max().item<int64_t>(), 1);
  EXPECT_EQ(json.at("between"), nlohmann::json({"4:1", "6:2", 0}));
  for (const char* wrong :
       {"3,x", "3,:", "3,1:", "3,:1", "3,-1", "3,1:2:3", "3,1.5", "3,9007199254740993:0"})
    refused({"interpolate", "--between", wrong}, 2, "must be the number of an image");
}

// Measured again, a restored image agrees better with its input than a plain sample does.
TEST_F(Edit, RestoredImagesAgreeWithTheDegradedOnes) {
  io::write_png(folder_ / "small.png",
                torch::tensor({40, 90, 140, 190}).view({1, 2, 2}).to(torch::kByte));
  // Without clipping: this network, hardly trained, predicts pixels outside the range, which have no
  // gradient if they are clipped.
  const std::vector<std::string> how{"--steps", "20", "--ddim", "--num", "3",
                                     "--seed",  "5",  "--clip", "none"};
  const auto restored = [&](std::vector<std::string> task, const std::string& scale) {
    task.insert(task.begin(), "restore");
    task.insert(task.end(), how.begin(), how.end());
    task.insert(task.end(), {"--scale", scale});
    return images_of(json_of(task)).to(torch::kDouble);
  };
  std::vector<std::string> sample{"sample"};
  sample.insert(sample.end(), how.begin(), how.end());
  const torch::Tensor plain = images_of(json_of(sample)).to(torch::kDouble);

  struct Case {
    std::vector<std::string> task;
    torch::Tensor measured;
    std::function<torch::Tensor(const torch::Tensor&)> degrade;
  };
  const torch::Tensor whole = image().unsqueeze(0).to(torch::kDouble);
  const std::vector<Case> cases{
      {{"--image", "small.png", "--downsample", "4"},
       torch::tensor({40.0, 90.0, 140.0, 190.0}, torch::kDouble).view({1, 1, 2, 2}),
       [](const torch::Tensor& x) { return torch::avg_pool2d(x, 4); }},
      {{"--image", "0.png", "--blur", "1"},
       whole,
       diffusion::gaussian_blur(1.0, 8, 8, torch::dtype(torch::kDouble))},
      {{"--image", "0.png", "--mask", "mask.png"},
       whole.narrow(3, 0, 4),
       [](const torch::Tensor& x) { return x.narrow(3, 0, 4); }}};
  for (const Case& c : cases) {
    const auto off = [&](const torch::Tensor& x) {
      return (c.degrade(x) - c.measured).square().mean().sqrt().item<double>();
    };
    EXPECT_TRUE(restored(c.task, "0").equal(plain)) << c.task[2];
    EXPECT_LT(off(restored(c.task, "0.3")), 0.75 * off(plain)) << c.task[2];
  }
}

TEST_F(Edit, RestoringColoursNeedsANetworkOfThem) {
  refused({"restore", "--image", "0.png", "--grey"}, 2, "needs a network of colour images");
  train("runs/colour", {"--set", "data.channels=3", "--set", "train.steps=2"});
  const torch::Tensor coloured = images_of(
      json_of({"restore", "--ckpt", "runs/colour", "--image", "0.png", "--grey", "--steps", "3"}));
  EXPECT_EQ(coloured.sizes(), (torch::IntArrayRef{1, 3, 8, 8}));
}

TEST_F(Edit, RestorationThatCannotBeIsOneLine) {
  refused({"restore", "--image", "0.png"}, 2, "nothing to restore");
  refused({"restore", "--image", "0.png", "--blur", "1", "--downsample", "2"}, 2,
          "more than one operator");
  refused({"restore", "--image", "0.png", "--downsample", "3"}, 2, "must divide");
  refused({"restore", "--image", "0.png", "--downsample", "2"}, 1,
          "0.png: is 8x8, and images 2 times smaller than the network's are 4x4");
  refused({"restore", "--image", "0.png", "--blur", "0"}, 2, "--blur: is 0");
  refused({"restore", "--image", "0.png", "--mask", "none.png"}, 1, "none.png");
  refused({"restore", "--image", "0.png", "--blur", "1", "--method", "unipc"}, 2,
          "unipc remembers former steps; use --ddim or --ddpm");
  EXPECT_FALSE(fs::exists(folder_ / "runs/tiny/generated"));
}

TEST_F(Edit, WrongInputsAreOneLine) {
  io::write_png(folder_ / "large.png", torch::zeros({1, 9, 8}, torch::kByte));
  io::write_png(folder_ / "colour.png", torch::arange(192).view({3, 8, 8}).to(torch::kByte));
  io::write_png(folder_ / "dark.png", torch::zeros({1, 8, 8}, torch::kByte));
  refused({"edit", "--image", "large.png"}, 1, "large.png: is 9x8");
  refused({"edit", "--image", "colour.png"}, 1, "has colours");
  refused({"edit", "--image", "none.png"}, 1, "none.png");
  refused({"edit", "--image", "0.png", "--strength", "0"}, 2, "--strength 0");
  refused({"inpaint", "--image", "0.png", "--mask", "dark.png"}, 1, "a mask of one value");
  refused({"inpaint", "--image", "0.png", "--mask", "large.png"}, 1, "large.png: is 9x8");
  refused({"inpaint", "--image", "0.png", "--mask", "mask.png", "--method", "unipc"}, 2,
          "--rounds 1");
  refused({"interpolate", "--between", "1"}, 2, "two images or more");
  EXPECT_FALSE(fs::exists(folder_ / "runs/tiny/generated"));
}

}  // namespace
}  // namespace ddpm
