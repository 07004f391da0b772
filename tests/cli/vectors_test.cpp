#include "ddpm/io/image.h"
#include "ddpm/io/npy.h"
#include "ddpm/io/safetensors.h"
#include "tests/cli/distributed_fixture.h"
#include "tests/io/fixtures.h"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

namespace ddpm {
namespace {

namespace fs = std::filesystem;

/// A trained network of 8x8 images with two numbers each: smiling, 0 or 1, and age.
class Vectors : public Distributed {
 protected:
  static constexpr int64_t kImages = 50;  // of tiny.toml

  static std::vector<std::string> with_vectors(std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--set", "data.vectors=v.csv", "--set",
                             "model.vector_conditional=true", "--set", "train.label_dropout=0.2"});
    return more;
  }
  void SetUp() override {
    CliTest::SetUp();
    std::ofstream csv(folder_ / "v.csv");
    csv << "id,smiling,age\n";
    for (int64_t i = 0; i < kImages; ++i) csv << fmt::format("{},{},{}\n", i, i % 2, 0.5 * i);
    csv.close();
    train("runs/small",
          with_vectors({"--set", "train.sample_every=12", "--set", "train.sample_count=3"}));
  }
};

TEST_F(Vectors, OneForAllByNameOrInOrderIsTheSame) {
  const auto in_order = sampled({"--num", "3", "--vector", "1,-2.5"});
  const auto by_name = sampled({"--num", "3", "--vector", "age=-2.5,smiling=1"});
  const auto other = sampled({"--num", "3", "--vector", "0,-2.5"});
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(in_order[i].equal(by_name[i])) << i;
    EXPECT_FALSE(in_order[i].equal(other[i])) << i;
  }
  // A value may begin with a minus, and names that are left out have their mean.
  EXPECT_EQ(sampled({"--num", "1", "--vector", "-1,2"}).size(), 1u);
  const double mean = json_of({"info", "runs/small"}).at("vectors").at("mean").at(1);
  EXPECT_TRUE(sampled({"--num", "1", "--vector", "smiling=1"})[0].equal(
      sampled({"--num", "1", "--vector", fmt::format("1,{}", mean)})[0]));
}

TEST_F(Vectors, AFileGivesOneToEachImageInTurn) {
  std::ofstream(folder_ / "two.csv") << "name,age,hat,smiling\nx,-2.5,9,1\ny,7,9,0\n";
  const auto from_file = sampled({"--num", "3", "--vectors", "two.csv"});
  const auto first = sampled({"--num", "3", "--vector", "1,-2.5"});
  const auto second = sampled({"--num", "3", "--vector", "0,7"});
  for (size_t i = 0; i < 3; ++i)
    EXPECT_TRUE(from_file[i].equal((i % 2 == 0 ? first : second)[i])) << "image " << i;
  fixtures::write(folder_ / "two.npy",
                  io::encode_npy(torch::tensor({1.0F, -2.5F, 0.0F, 7.0F}).view({2, 2})));
  const auto from_array = sampled({"--num", "3", "--vectors", "two.npy"});
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(from_file[i].equal(from_array[i])) << i;
}

TEST_F(Vectors, AFolderHoldsImagesOfTheSameVectors) {
  const std::vector<std::string> command{"sample", "--steps", "5",     "--ddim",
                                         "--num",  "4",       "--out", "parts"};
  const auto with = [&](const std::string& vector) {
    auto words = command;
    words.insert(words.end(), {"--vector", vector});
    return words;
  };
  ASSERT_EQ(run(with("1,2")).status, 0);
  const torch::Tensor whole = pixels("parts/000002.png");
  fs::remove(folder_ / "parts/000002.png");
  auto more = with("1,2");
  more.emplace_back("--continue");
  ASSERT_EQ(run(more).status, 0);
  EXPECT_TRUE(pixels("parts/000002.png").equal(whole));
  more = with("1,3");
  more.emplace_back("--continue");
  expect_error(more, 1, "holds 4 images of other settings (vectors 1,2 (checksum");
}

// Without a flag image i has the kept row i: all 45 images that were trained on.
TEST_F(Vectors, TheNetworkKeepsSomeOfTheDataForSampling) {
  const nlohmann::json info = json_of({"info", "runs/small"}).at("vectors");
  EXPECT_EQ(info.at("rows"), 45);
  EXPECT_EQ(info.at("names"), (std::vector<std::string>{"smiling", "age"}));
  const auto kept = sampled({"--num", "2"});
  EXPECT_EQ(kept.size(), 2u);
  const std::string note = run({"info", "runs/small"}).out;
  EXPECT_CONTAINS(note,
                  "2 numbers per image, also trained without them; 45 of training images kept");
  EXPECT_CONTAINS(note, "age: mean");
  const fs::path picture = json_of({"sample", "--steps", "5", "--ddim", "--num", "2"})
                               .at("files")
                               .at(1)
                               .get<std::string>();
  const nlohmann::json of = json_of({"info", picture.string()});
  const nlohmann::json vector = of.at("vector");
  EXPECT_TRUE(kept[1].equal(sampled({"--num", "2", "--vector",
                                     fmt::format("{},{}", vector.at("smiling").get<double>(),
                                                 vector.at("age").get<double>())})[1]));
}

TEST_F(Vectors, TheDataCommandDescribesThem) {
  const std::vector<std::string> command{
      "data", "--config", "tiny.toml", "--set", "data.vectors=v.csv", "--num", "0"};
  EXPECT_CONTAINS(run(command).out, "  age                       12.25      7.215   0..24.5\n");
  const nlohmann::json age = json_of(command).at("vectors").at(1);
  EXPECT_EQ(age.at("name"), "age");
  EXPECT_EQ(age.at("mean"), 12.25);  // half of (0 + ... + 49) / 50
  EXPECT_EQ(age.at("highest"), 24.5);
}

TEST_F(Vectors, GuidanceGoesFromNoneThroughTheVector) {
  const std::vector<std::string> base{"--num", "3", "--vector", "1,20"};
  const auto with = [&](const std::string& weight, std::vector<std::string> flags) {
    flags.insert(flags.end(), {"--guidance", weight});
    return sampled(flags);
  };
  const auto plain = sampled(base);
  const auto one = with("1", base), three = with("3", base), zero = with("0", base);
  const auto other_zero = with("0", {"--num", "3", "--vector", "0,-20"});
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(plain[i].equal(one[i]));
    EXPECT_FALSE(plain[i].equal(three[i]));
    EXPECT_TRUE(zero[i].equal(other_zero[i])) << "without vectors it does not matter which";
  }
  for (const char* method : {"ddpm", "heun", "dpmpp_2m", "unipc"})
    EXPECT_EQ(json_of({"sample", "--method", method, "--steps", "6", "--num", "2", "--guidance",
                       "2", "--vector", "smiling=1"})
                  .at("images"),
              2)
        << method;
  train("runs/never", {"--set", "data.vectors=v.csv", "--set", "model.vector_conditional=true",
                       "--set", "train.steps=4"});
  expect_error({"sample", "--ckpt", "runs/never", "--guidance", "2"}, 2,
               "needs a network trained with train.label_dropout");
}

TEST_F(Vectors, SayInOneLineWhatIsWrong) {
  const auto refused = [&](const std::string& flag, const std::string& value, int status,
                           const std::string& text) {
    expect_error({"sample", "--num", "1", "--steps", "2", flag, value}, status, text);
  };
  refused("--vector", "1", 2, "--vector: has 1 number, this network reads 2: smiling, age");
  refused("--vector", "smilling=1", 2, "reads no \"smilling\"; did you mean smiling?");
  refused("--vector", "smiling=yes", 2, "\"smiling=yes\" holds no finite number");
  refused("--vector", "1,nan", 2, "\"nan\" holds no finite number");
  refused("--vector", "smiling=1,2", 2, "\"2\" has no name");
  refused("--vector", "age=1,age=2", 2, "age is given twice");
  std::ofstream(folder_ / "bad.csv") << "name,smiling\nx,1\n";
  refused("--vectors", "bad.csv", 1, "bad.csv: has no column age, which this network reads");
  refused("--vectors", "none.csv", 1, "none.csv: does not exist");
  fixtures::write(folder_ / "bad.npy", io::encode_npy(torch::zeros({2, 3})));
  refused("--vectors", "bad.npy", 1, "bad.npy: holds 3 numbers per row, this network reads 2");
  train("runs/plain", {"--set", "train.steps=4"});
  expect_error({"sample", "--ckpt", "runs/plain", "--vector", "1,2"}, 2,
               "--vector is for a network that was trained with model.vector_conditional");
  std::ofstream(folder_ / "short.csv") << "id,x\n0,1\n1,2\n";
  expect_error(
      {"train", "--config", "tiny.toml", "--out", "runs/x", "--set", "data.vectors=short.csv"}, 1,
      "short.csv: has no row for the image 2");
}

TEST_F(Vectors, AResumedRunIsTheSameToTheBit) {
  const auto whole = with_vectors({"--set", "optimizer.decay=constant"});
  auto part = whole;
  part.insert(part.end(), {"--set", "train.steps=8"});
  train("runs/whole", whole);
  train("runs/parts", part);
  train("runs/parts", whole);
  expect_same_tensors(checkpoint("runs/whole", 12), checkpoint("runs/parts", 12));
  EXPECT_EQ(io::read_text(checkpoint("runs/whole", 12) / "model.toml"),
            io::read_text(checkpoint("runs/parts", 12) / "model.toml"));
  std::ofstream csv(folder_ / "v.csv", std::ios::app);
  csv.close();
  std::string text = io::read_text(folder_ / "v.csv");
  text.replace(text.find("3,1,1.5\n"), 8, "3,0,1.5\n");
  std::ofstream(folder_ / "v.csv") << text;
  std::vector<std::string> command{"train", "--config", "tiny.toml", "--out", "runs/parts"};
  command.insert(command.end(), whole.begin(), whole.end());
  expect_error(command, 1,
               "was trained with vectors of 2 numbers (smiling, age), the data now has other "
               "numbers in them; use the same data.vectors");
}

TEST_F(Vectors, SeveralProcessesTrainAndSampleTheSame) {
  const std::vector<std::string> flags = with_vectors({"--set", "train.accumulate=1"});
  train_alone("runs/alone", flags);
  train_on(2, "runs/two", flags);
  expect_close(checkpoint("runs/alone", 12), checkpoint("runs/two", 12));

  const auto draw = [](const std::string& out) {
    return std::vector<std::string>{"sample", "--ckpt", "runs/small", "--steps", "5",     "--ddim",
                                    "--num",  "7",      "--vectors",  "v.csv",   "--out", out};
  };
  ASSERT_EQ(run(draw("alone")).status, 0);
  const std::string port = std::to_string(free_port());
  Processes processes;
  for (int rank = 0; rank < 2; ++rank)
    processes.push_back(std::make_unique<Program>(folder_.path(), draw("together"),
                                                  rank_environment(rank, 2, port)));
  for (auto& process : processes) ASSERT_EQ(process->wait().status, 0);
  for (int64_t i = 0; i < 7; ++i)
    EXPECT_TRUE(pixels(fmt::format("together/{:06}.png", i))
                    .equal(pixels(fmt::format("alone/{:06}.png", i))))
        << i;
}

// --init-from: vectors of weight zero at first; and the same outputs with other means.
TEST_F(Vectors, BeginFromANetworkWithoutThemOrWithOthers) {
  train("runs/plain", {"--set", "train.steps=4"});
  train("runs/fine", with_vectors({"--init-from", "runs/plain", "--set", "train.steps=1", "--set",
                                   "optimizer.lr=1e-30", "--set", "optimizer.warmup_steps=0"}));
  const auto before = sampled({"--ckpt", "runs/plain", "--num", "2"});
  const auto after = sampled(
      {"--ckpt", "runs/fine", "--num", "2", "--weights", "raw", "--vector", "smiling=1,age=9"});
  EXPECT_TRUE(before[1].equal(after[1])) << "the first steps change nothing";

  std::string text = "id,smiling,age\n";
  for (int64_t i = 0; i < kImages; ++i) text += fmt::format("{},{},{}\n", i, i % 3, 7 - i);
  std::ofstream(folder_ / "w.csv") << text;
  const std::vector<std::string> still{"--set", "train.steps=1",
                                       "--set", "optimizer.lr=1e-30",
                                       "--set", "optimizer.warmup_steps=0",
                                       "--set", "data.vectors=w.csv"};
  auto flags = still;
  flags.insert(flags.end(), {"--init-from", "runs/small"});
  train("runs/moved", flags);
  const std::vector<std::string> sample{"--num", "2", "--vector", "1,3.5", "--save-tensors"};
  const auto floats = [&](const std::string& run_name, const std::string& weights) {
    auto words = sample;
    words.insert(words.end(),
                 {run_name + ".safetensors", "--ckpt", "runs/" + run_name, "--weights", weights});
    sampled(words);
    return io::SafetensorsFile::open(folder_ / (run_name + ".safetensors")).get("samples");
  };
  const torch::Tensor a = floats("small", "ema"), b = floats("moved", "raw");
  EXPECT_LT((a - b).abs().max().item<double>(), 1e-3) << "v is standardised by other means";

  std::ofstream(folder_ / "other.csv") << "x,y\n";
  std::string other = text;
  other.replace(other.find("age"), 3, "hat");
  std::ofstream(folder_ / "other.csv") << other;
  expect_error({"train", "--config", "tiny.toml", "--out", "runs/o", "--init-from", "runs/small",
                "--set", "data.vectors=other.csv"},
               2, "reads the columns smiling, age, the data has smiling, hat");
  expect_error({"train", "--config", "tiny.toml", "--out", "runs/o", "--init-from", "runs/small"},
               2, "but the data has no vectors; name a file of them in data.vectors");
}

TEST_F(Vectors, OtherCommandsReadThemToo) {
  const nlohmann::json bound = json_of({"eval", "likelihood", "--calls", "2", "--num", "3"});
  EXPECT_TRUE(bound.at("bits_per_dim").is_number());
  std::string text = "id,smiling,age\n";
  for (int64_t i = 0; i < kImages; ++i) text += fmt::format("{},{},{}\n", i, 1 - i % 2, 40 - i);
  std::ofstream(folder_ / "w.csv") << text;
  EXPECT_NE(
      json_of({"eval", "likelihood", "--calls", "2", "--num", "3", "--set", "data.vectors=w.csv"})
          .at("bits_per_dim"),
      bound.at("bits_per_dim"))
      << "each image has its own";
  EXPECT_TRUE(json_of({"eval", "--num", "6", "--steps", "2", "--ddim", "--cache", "cache"})
                  .at("frechet")
                  .is_number());
  io::write_png(folder_ / "image.png", torch::full({1, 8, 8}, 90, torch::kByte));
  EXPECT_EQ(
      json_of({"edit", "--image", "image.png", "--vector", "smiling=1", "--steps", "5", "--ddim"})
          .at("images"),
      1);
  expect_error({"encode", "--image", "image.png", "--steps", "5"}, 2,
               "need one vector: give it with --vector");
  EXPECT_EQ(run({"encode", "--image", "image.png", "--steps", "5", "--vector", "1,2"}).status, 0);
  EXPECT_EQ(run({"check", "--steps", "4", "--num", "2"}).err.find("vector"), std::string::npos);
  std::vector<std::string> dry{"train", "--config", "tiny.toml", "--dry-run"};
  for (const std::string& word : with_vectors()) dry.push_back(word);
  EXPECT_EQ(run(dry).status, 0);
  fs::create_directory(folder_ / "pictures");
  for (const char* name : {"a.png", "b.png"})
    fs::copy_file(folder_ / "image.png", folder_ / "pictures" / name);
  expect_error({"eval", "likelihood", "--calls", "2", "--num", "2", "--reference", "pictures"}, 2,
               "this network reads a vector of each image (smiling, age), and the images of "
               "--reference have none");
}

TEST_F(Vectors, AreWrittenWithTheNetworkButNotForDiffusers) {
  expect_error({"convert", "runs/small", "theirs", "--to", "diffusers"}, 2,
               "model.vector_conditional: diffusers' pipelines");
  EXPECT_FALSE(fs::exists(folder_ / "theirs"));
  for (const char* format : {"safetensors", "torch"}) {
    const std::string file = std::string("net.") + (format[0] == 's' ? "safetensors" : "pt");
    ASSERT_EQ(run({"convert", "runs/small", file, "--to", format}).status, 0);
    const auto ours = sampled({"--num", "2"}), theirs = sampled({"--num", "2", "--ckpt", file});
    EXPECT_TRUE(ours[1].equal(theirs[1])) << format;
  }
}

}  // namespace
}  // namespace ddpm
