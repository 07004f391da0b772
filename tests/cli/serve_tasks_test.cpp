#include "src/report/base64.h"
#include "tests/cli/serve_fixture.h"

#include <algorithm>
#include <cstdlib>
#include <span>

#include <fmt/format.h>
#include <torch/types.h>

namespace ddpm {
namespace {

using Json = nlohmann::json;

/// Interpolation, inpainting and conditions by the server, compared with the commands.
class ServeTasks : public ServeCommand {
 protected:
  void put(const std::string& name, const std::vector<uint8_t>& file) {
    io::write_file_synced(folder_ / name, std::span<const uint8_t>(file));
  }
  /// A picture in base64, also put beside the run as `name`.
  std::string sent(const std::string& name, const torch::Tensor& chw) {
    const std::vector<uint8_t> png = io::encode_png(chw.to(torch::kByte));
    put(name, png);
    return report::base64(png);
  }
  static torch::Tensor picture() { return torch::arange(64).view({1, 8, 8}) * 2 + 30; }
  static torch::Tensor right_half() {
    torch::Tensor mask = torch::zeros({1, 8, 8}, torch::kByte);
    mask.narrow(2, 4, 4).fill_(255);
    return mask;
  }
  /// Runs a command that must succeed.
  void make(std::vector<std::string> words, const std::string& folder) {
    words.insert(words.end(), {"--out", folder});
    const ProgramResult result = run(words);
    ASSERT_EQ(result.status, 0) << result.err;
  }
  void expect_pixels_of(const Json& job, const std::string& folder, size_t count) {
    ASSERT_EQ(job["state"], "done") << job;
    ASSERT_EQ(job["images"].size(), count);
    for (size_t i = 0; i < count; ++i)
      EXPECT_EQ(pixels(served(job["images"][i])), written(folder, i)) << folder << " " << i;
  }
  /// The command in a picture's note makes it again, with the job's inputs beside the run.
  void expect_made_again(const Json& job, size_t i) {
    for (const Json& input : job["inputs"]) put(input["name"], served(input["url"]));
    put("served.png", served(job["images"][i]));
    const Json note = Json::parse(run({"info", "served.png", "--json"}).out);
    EXPECT_EQ(note.at("arguments")[0], job["command"]);
    make(note.at("arguments"), "again");
    EXPECT_EQ(written("again", i), pixels(served(job["images"][i]))) << note["command"];
    std::filesystem::remove_all(folder_ / "again");
  }
};

const std::vector<std::string> kDdim{"--ckpt", "runs/tiny", "--method", "ddim", "--steps", "5"};

std::vector<std::string> with(const char* command, std::vector<std::string> more) {
  more.insert(more.begin(), kDdim.begin(), kDdim.end());
  more.insert(more.begin(), command);
  return more;
}

TEST_F(ServeTasks, AWayHasThePixelsOfDdpmInterpolate) {
  start();
  const Json one =
      finished(R"({"method":"ddim","steps":5,"seed":7,"class":1,"between":[1,3],"frames":4})",
               "interpolations");
  make(with("interpolate", {"--between", "1,3", "--frames", "4", "--seed", "7", "--class", "1"}),
       "one");
  expect_pixels_of(one, "one", 4);
  EXPECT_EQ(one["settings"]["between"], Json({1, 3}));
  expect_made_again(one, 2);
  const Json two = finished(
      R"({"method":"ddim","steps":5,"eta":0.5,"seed":7,"class":1,
          "between":[{"seed":7,"image":1},{"seed":9,"image":0},2],"frames":3})",
      "interpolations");
  make(with("interpolate", {"--between", "7:1,9:0,2", "--frames", "3", "--seed", "7", "--class",
                            "1", "--eta", "0.5"}),
       "two");
  expect_pixels_of(two, "two", 5);
  EXPECT_EQ(two["settings"]["between"], Json({1, "9:0", 2}))
      << "the request's own seed is not named";
  expect_made_again(two, 1);
}

// Without noise in the steps, whatever the batch: the ends are the images of their seeds.
TEST_F(ServeTasks, AWayLeadsFromOneSeedsImageToTheOthers) {
  start();
  const Json way = finished(
      R"({"method":"ddim","steps":5,"seed":7,"class":1,
          "between":[{"seed":7,"image":1},{"seed":9,"image":2}],"frames":3})",
      "interpolations");
  ASSERT_EQ(way["state"], "done") << way;
  for (const auto& [frame, seed, image] : {std::tuple(0, 7, 1), std::tuple(2, 9, 2)}) {
    const std::string folder = fmt::format("seed-{}", seed);
    make(with("sample", {"--num", "3", "--seed", fmt::format("{}", seed), "--class", "1"}), folder);
    const auto end = pixels(served(way["images"][static_cast<size_t>(frame)]));
    const auto own = written(folder, static_cast<size_t>(image));
    for (size_t p = 0; p < own.size(); ++p)  // batches of other sizes round in another way
      EXPECT_LE(std::abs(end[p] - own[p]), 1) << seed;
    EXPECT_NE(end, pixels(served(way["images"][1])));
  }
}

TEST_F(ServeTasks, AnInpaintingHasThePixelsOfDdpmInpaint) {
  start();
  const std::string body = fmt::format(
      R"({{"method":"ddim","steps":5,"eta":1,"seed":3,"num":3,"class":[1,0],"rounds":4,
           "image":"{}","mask":"{}"}})",
      sent("image.png", picture()), sent("mask.png", right_half()));
  const Json job = finished(body, "inpaintings");
  make(with("inpaint", {"--image", "image.png", "--mask", "mask.png", "--rounds", "4", "--num", "3",
                        "--seed", "3", "--class", "#1,#0", "--eta", "1"}),
       "inpainted");
  expect_pixels_of(job, "inpainted", 3);
  const std::vector<uint8_t> whole = pixels(io::read_file(folder_ / "image.png"));
  const std::vector<uint8_t> first = pixels(served(job["images"][0]));
  int64_t redrawn = 0;
  for (size_t p = 0; p < 64; ++p) {
    if (p % 8 < 4) {
      EXPECT_EQ(first[p], whole[p]) << "outside the mask";
    }
    redrawn += p % 8 >= 4 && first[p] != whole[p] ? 1 : 0;
  }
  EXPECT_GT(redrawn, 16) << "within it";
  ASSERT_EQ(job["inputs"].size(), 2u);
  EXPECT_EQ(pixels(served(job["inputs"][0]["url"])), whole);
  expect_made_again(job, 1);
  EXPECT_EQ(job["settings"]["rounds"], 4);
}

TEST_F(ServeTasks, WhatCannotBeInpaintedIsOneLine) {
  start();
  const std::string image = sent("image.png", picture()), mask = sent("mask.png", right_half());
  const auto why = [&](const std::string& image_text, const std::string& mask_text,
                       const std::string& more = R"("method":"ddim","class":1)") {
    const std::string message =
        refused(fmt::format(R"({{"image":"{}","mask":"{}",{}}})", image_text, mask_text, more),
                "inpaintings");
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return message;
  };
  const std::string wide = sent("wide.png", torch::zeros({1, 8, 9}));
  EXPECT_EQ(why(wide, mask),
            "image: is 8x9, and the network's images are 8x8 (height x width); resize it first");
  EXPECT_EQ(why(image, wide).find("mask: is 8x9"), 0u);
  const std::string colours = sent("colours.png", torch::arange(192).view({3, 8, 8}));
  EXPECT_EQ(why(colours, mask),
            "image: has colours, and the network's images are grey; convert it first");
  EXPECT_EQ(why("Zm9v", mask), "image: is neither a PNG nor a JPEG");
  const std::vector<uint8_t> png = io::read_file(folder_ / "image.png");
  const std::vector<uint8_t> half(png.begin(), png.begin() + std::ssize(png) / 2);
  EXPECT_EQ(why(report::base64(half), mask),
            "image: is a damaged or truncated image; send all of it");
  std::vector<uint8_t> flipped = png;
  flipped[flipped.size() - 20] ^= 0x40;
  EXPECT_EQ(why(report::base64(flipped), mask).find("image: is "), 0u);
  for (const int64_t level : {0, 127, 128, 255})
    EXPECT_EQ(
        why(image, sent("even.png", torch::full({1, 8, 8}, level))),
        "mask: is a mask of one value; it must be light where pixels are to be filled in, and "
        "dark elsewhere")
        << level;
  EXPECT_NE(why(image, mask, R"("method":"unipc","class":1)").find("use rounds 1"),
            std::string::npos);
  EXPECT_NE(why(image, mask, R"("method":"ddim","condition":"Zm9v")").find("condition: is for a"),
            std::string::npos);
  EXPECT_EQ(refused(R"({"between":[0,1]})", "interpolations").find("interpolated images of a"), 0u)
      << "of which class?";
  EXPECT_EQ(Json::parse(client().Get("/v1/jobs")->body)["jobs"].size(), 0u);
  // Any one of the two levels that exist is enough, and one round suits every method.
  const Json done = finished(
      fmt::format(R"({{"image":"{}","mask":"{}","method":"unipc","steps":4,"class":1,"rounds":1}})",
                  image, mask),
      "inpaintings");
  EXPECT_EQ(done["state"], "done") << done;
}

// CRC-32 of the PNG specification, Annex D.
uint32_t crc32_of(std::span<const uint8_t> bytes) {
  uint32_t crc = 0xffffffff;
  for (const uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc;
}

// A PNG of a few bytes whose header claims a gigabyte of pixels.
TEST_F(ServeTasks, APictureThatClaimsMoreThanItHoldsIsRefused) {
  start();
  std::vector<uint8_t> png = io::encode_png(picture().to(torch::kByte));
  const auto put_number = [&](size_t at, uint32_t value) {
    for (size_t i = 0; i < 4; ++i) png[at + i] = static_cast<uint8_t>(value >> (24 - 8 * i));
  };
  put_number(16, 30'000);
  put_number(20, 40'000);
  put_number(29, crc32_of(std::span(png).subspan(12, 17)));
  const std::string large = report::base64(png),
                    body = R"({"image":")" + large + R"(","mask":"Zg=="})";
  EXPECT_EQ(refused(body, "inpaintings"), "image: is a damaged or truncated image; send all of it");
}

TEST_F(ServeTasks, ANetworkWithAConditionTakesAPicture) {
  train("runs/small", {"--set", "model.condition=downsample", "--set", "model.condition_factor=2"});
  source_ = "runs/small";
  start();
  const Json model = Json::parse(client().Get("/v1/model")->body)["network"];
  EXPECT_EQ(model["condition"]["what"], "a picture of 4x4 pixels, 2 times smaller than the images");
  EXPECT_EQ(model["condition"]["height"], 4);
  EXPECT_EQ(refused("{}"),
            "condition: missing; this network needs a picture of 4x4 pixels, 2 times smaller than "
            "the images");
  const std::string small = sent("small.png", torch::arange(16).view({1, 4, 4}) * 12 + 20);
  EXPECT_EQ(refused(fmt::format(R"({{"condition":"{}"}})", sent("image.png", picture())))
                .find("condition: is 8x8, and this network's conditions are 4x4"),
            0u);
  const Json job = finished(
      fmt::format(R"({{"method":"ddim","steps":5,"seed":2,"num":2,"condition":"{}"}})", small));
  make({"sample", "--ckpt", "runs/small", "--method", "ddim", "--steps", "5", "--seed", "2",
        "--num", "2", "--condition", "small.png"},
       "sampled");
  expect_pixels_of(job, "sampled", 2);
  expect_made_again(job, 1);
  const Json redrawn = finished(
      fmt::format(R"({{"method":"ddim","steps":5,"seed":2,"num":2,"rounds":2,"condition":"{}",
                       "image":"{}","mask":"{}"}})",
                  small, sent("image.png", picture()), sent("mask.png", right_half())),
      "inpaintings");
  make({"inpaint", "--ckpt", "runs/small", "--method", "ddim", "--steps", "5", "--seed", "2",
        "--num", "2", "--condition", "small.png", "--image", "image.png", "--mask", "mask.png",
        "--rounds", "2"},
       "inpainted");
  expect_pixels_of(redrawn, "inpainted", 2);
  ASSERT_EQ(redrawn["inputs"].size(), 3u);
  expect_made_again(redrawn, 0);
}

}  // namespace
}  // namespace ddpm
