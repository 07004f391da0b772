#include "ddpm/io/image.h"
#include "tests/cli/fixture.h"
#include "tests/dist/free_port.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

namespace ddpm {
namespace {

namespace fs = std::filesystem;

/// A trained network of 8x8 grey images from pictures of 4x4, and two such pictures.
class Conditioned : public CliTest {
 protected:
  static std::vector<std::string> condition(std::vector<std::string> more = {}) {
    more.insert(more.end(),
                {"--set", "model.condition=downsample", "--set", "model.condition_factor=2"});
    return more;
  }

  void SetUp() override {
    CliTest::SetUp();
    train("runs/small", condition({"--set", "train.condition_dropout=0.2", "--set",
                                   "train.sample_every=12", "--set", "train.sample_count=3"}));
    fs::create_directory(folder_ / "pictures");
    for (int64_t i = 0; i < 2; ++i) io::write_png(folder_ / picture(i), small(i));
    std::ofstream(folder_ / "pictures" / "notes.txt") << "no picture";
  }
  static std::string picture(int64_t i) { return fmt::format("pictures/{}.png", i); }
  static torch::Tensor small(int64_t i) {
    return (torch::arange(16).view({1, 4, 4}) * 6 + 20 + 100 * i).to(torch::kByte);
  }
};

TEST_F(Conditioned, SamplesFromAPictureOrAFolderOfThem) {
  const auto both = sampled({"--condition", "pictures", "--num", "4"});
  ASSERT_EQ(both.size(), 4u);
  const auto first = sampled({"--condition", picture(0), "--num", "4"});
  const auto second = sampled({"--condition", picture(1), "--num", "4"});
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(both[i].equal(i % 2 == 0 ? first[i] : second[i])) << "in turn: image " << i;
    EXPECT_FALSE(first[i].equal(second[i])) << "the same noise, another picture";
  }
}

// The grid's cells: each picture, enlarged, and its sample.
TEST_F(Conditioned, TheGridShowsEachConditionBesideItsSample) {
  const nlohmann::json json =
      json_of({"sample", "--steps", "5", "--ddim", "--condition", "pictures", "--num", "2"});
  const torch::Tensor grid = pixels(json.at("grid").get<std::string>());
  // One column of two cells, enlarged 8 times: 2 x 2 images of 8 with margins of 2.
  ASSERT_EQ(grid.sizes(), (torch::IntArrayRef{1, 8 * 22, 8 * 22}));
  const torch::Tensor plain = grid.slice(1, 4, 8 * 22, 8).slice(2, 4, 8 * 22, 8);
  const auto cell = [&](int64_t row, int64_t column) {
    return plain.narrow(1, 2 + 10 * row, 8).narrow(2, 2 + 10 * column, 8);
  };
  const auto samples = images_of(json);
  for (int64_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(cell(i, 1).equal(samples[static_cast<size_t>(i)]));
    const torch::Tensor mean = cell(i, 0).to(torch::kDouble).mean();
    EXPECT_NEAR(mean.item<double>(), small(i).to(torch::kDouble).mean().item<double>(), 1.0);
  }
  EXPECT_TRUE(fs::exists(folder_ / "runs/small/samples"));
}

TEST_F(Conditioned, WorksWithEveryMethodWithGuidanceAndInParts) {
  for (const char* method : {"ddpm", "heun", "dpmpp_2m", "unipc", "dpmpp_2m_sde"}) {
    const auto images = images_of(json_of(
        {"sample", "--method", method, "--steps", "6", "--condition", "pictures", "--num", "2"}));
    EXPECT_EQ(images.size(), 2u) << method;
  }
  const auto plain = sampled({"--condition", "pictures", "--num", "5"});
  const auto guided = sampled({"--condition", "pictures", "--num", "5", "--guidance", "3"});
  EXPECT_FALSE(plain[0].equal(guided[0]));
  const std::vector<std::string> command{"--condition", "pictures", "--num", "5", "--out", "parts"};
  sampled(command);
  fs::remove(folder_ / "parts/000001.png");
  fs::remove(folder_ / "parts/000004.png");
  auto more = command;
  more.emplace_back("--continue");
  const auto continued = sampled(more);
  for (size_t i = 0; i < 5; ++i) EXPECT_TRUE(continued[i].equal(plain[i])) << "image " << i;
  expect_error({"sample", "--steps", "5", "--ddim", "--condition", picture(1), "--num", "5",
                "--out", "parts", "--continue"},
               1, "holds 5 images of other settings (condition pictures (checksum");
}

TEST_F(Conditioned, SaysInOneLineWhatPictureIsWanted) {
  expect_error({"sample", "--num", "1"}, 2,
               "this network needs a picture of 4x4 pixels, 2 times smaller than the images for "
               "each image: give one, or a folder of them, with --condition");
  io::write_png(folder_ / "large.png", torch::zeros({1, 8, 8}, torch::kByte));
  expect_error({"sample", "--num", "1", "--condition", "large.png"}, 1,
               "large.png: is 8x8, and this network's conditions are 4x4 (height x width); resize "
               "it first");
  torch::Tensor red = torch::zeros({3, 4, 4}, torch::kByte);
  red[0].fill_(200);
  io::write_png(folder_ / "red.png", red);
  expect_error({"sample", "--num", "1", "--condition", "red.png"}, 1,
               "red.png: has colours, and this network's conditions are grey");
  expect_error({"sample", "--num", "1", "--condition", "nowhere"}, 1,
               "nowhere: does not exist; --condition names a picture of 4x4 pixels");
  fs::create_directory(folder_ / "empty");
  expect_error({"sample", "--num", "1", "--condition", "empty"}, 1, "empty: holds no pictures");
  EXPECT_FALSE(fs::exists(folder_ / "runs/small/generated")) << "nothing was made";
}

TEST_F(Conditioned, OtherNetworksTakeNoCondition) {
  train("runs/plain", {"--set", "train.steps=4"});
  expect_error({"sample", "--ckpt", "runs/plain", "--condition", "pictures"}, 2,
               "--condition is for a network that was trained with model.condition");
  expect_error({"eval", "--ckpt", "runs/plain", "--paired", "--steps", "2", "--num", "4"}, 2,
               "--paired is for a network that was trained with model.condition");
}

TEST_F(Conditioned, SeveralProcessesSampleTheSameImages) {
  const auto alone = sampled({"--condition", "pictures", "--num", "7", "--out", "alone"});
  const std::string port = std::to_string(free_port());
  std::vector<std::unique_ptr<Program>> processes;
  for (int rank = 0; rank < 2; ++rank)
    processes.push_back(std::make_unique<Program>(
        folder_.path(),
        std::vector<std::string>{"sample", "--steps", "5", "--ddim", "--condition", "pictures",
                                 "--num", "7", "--out", "together"},
        std::vector<std::string>{fmt::format("RANK={}", rank), "WORLD_SIZE=2",
                                 fmt::format("LOCAL_RANK={}", rank), "LOCAL_WORLD_SIZE=2",
                                 "MASTER_ADDR=127.0.0.1", "MASTER_PORT=" + port}));
  for (auto& process : processes) {
    const ProgramResult result = process->wait();
    ASSERT_EQ(result.status, 0) << result.err;
  }
  for (size_t i = 0; i < 7; ++i)
    EXPECT_TRUE(pixels(fmt::format("together/{:06}.png", i)).equal(alone[i])) << i;
}

TEST_F(Conditioned, AResumedRunIsTheSameToTheBit) {
  const auto whole =
      condition({"--set", "train.condition_dropout=0.2", "--set", "optimizer.decay=constant"});
  auto part = whole;
  part.insert(part.end(), {"--set", "train.steps=8"});
  train("runs/whole", whole);
  train("runs/parts", part);
  train("runs/parts", whole);
  expect_same_tensors(checkpoint("runs/whole", 12), checkpoint("runs/parts", 12));
  auto other = whole;
  other.insert(other.end(), {"--set", "model.condition_factor=4"});
  std::vector<std::string> command{"train", "--config", "tiny.toml", "--out", "runs/parts"};
  command.insert(command.end(), other.begin(), other.end());
  expect_error(command, 1, "model.condition_factor = 2, the config says 4");
}

TEST_F(Conditioned, EvalComparesSamplesWithTheirOriginals) {
  const nlohmann::json json =
      json_of({"eval", "--paired", "--steps", "5", "--ddim", "--cache", "cache"});
  EXPECT_EQ(json.at("num"), 5) << "the held-out images, each once";
  for (const char* key : {"psnr", "psnr_error", "condition_psnr", "frechet"})
    EXPECT_TRUE(json.at(key).is_number()) << key;
  EXPECT_FALSE(json.contains("ssim")) << "8x8 is smaller than the window";
  EXPECT_NE(json.at("protocol_line").get<std::string>().find("conditions holdout images of"),
            std::string::npos);
  expect_error({"eval", "--paired", "--condition", "pictures", "--steps", "2"}, 2,
               "--paired needs the images that the conditions were made from");
}

TEST_F(Conditioned, OtherCommandsTakeItsConditionsToo) {
  EXPECT_EQ(run({"check", "--steps", "4", "--num", "2"}).err.find("condition"), std::string::npos);
  io::write_png(folder_ / "image.png", torch::full({1, 8, 8}, 90, torch::kByte));
  EXPECT_EQ(images_of(json_of({"edit", "--image", "image.png", "--condition", picture(0), "--steps",
                               "5", "--ddim"}))
                .size(),
            1u);
  EXPECT_TRUE(
      json_of({"eval", "likelihood", "--calls", "2", "--num", "3"}).at("bits_per_dim").is_number());
  expect_error({"eval", "likelihood", "--condition", "pictures"}, 2,
               "measures images, each with its own condition");
  const ProgramResult info = run({"info", "runs/small"});
  EXPECT_NE(info.out.find("a picture of 4x4 pixels, 2 times smaller than the images, also trained "
                          "without it"),
            std::string::npos)
      << info.out;
}

TEST_F(Conditioned, IsWrittenAsTensorsButNotForDiffusers) {
  expect_error({"convert", "runs/small", "theirs", "--to", "diffusers"}, 2,
               "model.condition = \"downsample\": diffusers' pipelines");
  EXPECT_FALSE(fs::exists(folder_ / "theirs"));
  ASSERT_EQ(run({"convert", "runs/small", "net.safetensors", "--to", "safetensors"}).status, 0);
  const auto ours = sampled({"--condition", "pictures", "--num", "2"});
  const auto theirs =
      sampled({"--ckpt", "net.safetensors", "--condition", "pictures", "--num", "2"});
  EXPECT_TRUE(ours[0].equal(theirs[0]));
}

// --init-from gives an unconditional network input channels of weight zero.
TEST_F(Conditioned, BeginsFromAnUnconditionalNetwork) {
  train("runs/plain");
  train("runs/fine", condition({"--init-from", "runs/plain", "--set", "train.steps=4"}));
  EXPECT_EQ(json_of({"sample", "--ckpt", "runs/fine", "--condition", "pictures", "--num", "2",
                     "--steps", "2", "--ddim"})
                .at("images"),
            2);
  expect_error({"train", "--config", "tiny.toml", "--out", "runs/other", "--init-from",
                "runs/small", "--set", "model.condition_factor=4"},
               2, "has model.condition = \"downsample\" with condition_factor = 2");
}

}  // namespace
}  // namespace ddpm
