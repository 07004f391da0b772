#include "ddpm/io/image.h"
#include "ddpm/io/safetensors.h"
#include "tests/cli/fixture.h"
#include "tests/dist/free_port.h"

#include <filesystem>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

// Augmentation, self-conditioning and coupled noise, as a user meets them.

namespace ddpm::training_features_test {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> joined(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<std::string> keys(const std::vector<std::string>& settings) {
  std::vector<std::string> flags;
  for (const std::string& setting : settings) flags = joined(flags, {"--set", setting});
  return flags;
}

const std::vector<std::string> kAugmented =
    keys({"data.augment=edm", "data.augment_probability=0.5", "model.augment_labels=true"});
const std::vector<std::string> kSelf = keys({"model.self_condition=true"});
const std::vector<std::string> kCoupled = keys({"train.noise_coupling=optimal_transport"});

class TrainingFeatures : public CliTest {
 protected:
  // The pixels of samples, in the order of their numbers.
  std::vector<torch::Tensor> sampled(const std::string& checkpoint,
                                     const std::vector<std::string>& more = {}) {
    const ProgramResult result =
        run(joined({"sample", "--ckpt", checkpoint, "--steps", "6", "--num", "5", "--json"}, more));
    EXPECT_EQ(result.status, 0) << result.err;
    std::vector<torch::Tensor> images;
    const nlohmann::json json = nlohmann::json::parse(result.out);
    for (const std::string file : json.at("files"))
      images.push_back(io::to_tensor(io::decode_image(io::read_file(folder_ / file), file)));
    return images;
  }
  void expect_equal(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
    ASSERT_EQ(a.size(), 5u);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].equal(b[i])) << "image " << i;
  }
};

TEST_F(TrainingFeatures, AResumedRunIsTheSameToTheBit) {
  const std::vector<std::string> all =
      joined(joined(joined(kAugmented, kSelf), kCoupled), keys({"optimizer.decay=constant"}));
  train("runs/whole", all);
  train("runs/parts", joined(all, keys({"train.steps=8"})));
  train("runs/parts", all);
  expect_same_tensors(checkpoint("runs/whole", 12), checkpoint("runs/parts", 12));
}

// Images, t, noise, augmentation and first passes of a step are the same; sums differ in order.
TEST_F(TrainingFeatures, TwoProcessesTrainTheSameNetwork) {
  const auto settings = joined(
      joined(kAugmented, kSelf),
      keys({"model.dropout=0", "train.precision=fp64", "train.steps=4", "train.accumulate=1"}));
  train("runs/one", settings);
  const std::string port = std::to_string(free_port());
  std::vector<std::unique_ptr<Program>> processes;
  for (int rank = 0; rank < 2; ++rank)
    processes.push_back(std::make_unique<Program>(
        folder_.path(), joined({"train", "--config", "tiny.toml", "--out", "runs/two"}, settings),
        std::vector<std::string>{fmt::format("RANK={}", rank), "WORLD_SIZE=2",
                                 fmt::format("LOCAL_RANK={}", rank), "LOCAL_WORLD_SIZE=2",
                                 "MASTER_ADDR=127.0.0.1", "MASTER_PORT=" + port}));
  for (auto& process : processes) {
    const ProgramResult result = process->wait();
    ASSERT_EQ(result.status, 0) << result.err;
  }
  const auto one = io::SafetensorsFile::open(checkpoint("runs/one", 4) / "model.safetensors");
  const auto two = io::SafetensorsFile::open(checkpoint("runs/two", 4) / "model.safetensors");
  for (const std::string& name : one.names())
    EXPECT_TRUE(torch::allclose(one.get(name), two.get(name), 1e-7, 1e-10)) << name;
}

TEST_F(TrainingFeatures, LabelsOfTheAugmentationChangeNoSampleElsewhere) {
  train("runs/small", kAugmented);
  const ProgramResult info = run({"info", "runs/small"});
  EXPECT_NE(info.out.find("labels in training; samples are of images as they are"),
            std::string::npos)
      << info.out;
  ASSERT_EQ(run({"convert", "runs/small", "theirs", "--to", "diffusers"}).status, 0);
  const auto file =
      io::SafetensorsFile::open(folder_ / "theirs/unet/diffusion_pytorch_model.safetensors");
  EXPECT_FALSE(file.contains("augment_embedding.weight"));
  const std::vector<std::string> chain{"--ddim",   "--clip",     "none", "--spacing",
                                       "trailing", "--stepping", "own"};
  expect_equal(sampled("runs/small", joined(chain, {"--out", "a"})),
               sampled("theirs", joined(chain, {"--out", "b"})));
}

TEST_F(TrainingFeatures, ASelfConditionedNetworkSamplesByEveryMethod) {
  train("runs/small", joined(kSelf, keys({"train.sample_every=12", "train.sample_count=3"})));
  for (const char* method : {"ddpm", "ddim", "heun", "unipc", "dpmpp_2m", "pndm"}) {
    const std::string out = std::string("out-") + method;
    const auto whole = sampled("runs/small", {"--method", method, "--out", out, "--batch", "5"});
    const auto parts =
        sampled("runs/small", {"--method", method, "--out", out + "-2", "--batch", "2"});
    ASSERT_EQ(whole.size(), 5u) << method;
    for (size_t i = 0; i < 5; ++i)  // other batches may sum in another order
      EXPECT_LE((whole[i].to(torch::kInt) - parts[i].to(torch::kInt)).abs().max().item<int>(), 1)
          << method << " " << i;
  }
  const ProgramResult check = run({"check", "--ckpt", "runs/small", "--steps", "4", "--num", "2"});
  EXPECT_NE(check.out.find("round trip"), std::string::npos) << check.err;
  EXPECT_EQ(
      run({"eval", "likelihood", "--ckpt", "runs/small", "--calls", "2", "--num", "3"}).status, 0);
  expect_error({"convert", "runs/small", "theirs", "--to", "diffusers"}, 2,
               "model.self_condition: diffusers' pipelines");
  const ProgramResult info = run({"info", "runs/small"});
  EXPECT_NE(info.out.find("reads its estimate of the call before"), std::string::npos) << info.out;
}

TEST_F(TrainingFeatures, AreAddedToATrainedNetworkWithoutChangingIt) {
  train("runs/plain");
  const auto both = joined(kAugmented, kSelf);
  // Of this rate nothing is seen in weights of float32.
  train("runs/fine", joined(both, joined({"--init-from", "runs/plain"},
                                         keys({"train.steps=4", "optimizer.lr=1e-30"}))));
  const auto plain = io::SafetensorsFile::open(checkpoint("runs/plain", 12) / "ema.safetensors");
  const auto fine = io::SafetensorsFile::open(checkpoint("runs/fine", 4) / "model.safetensors");
  EXPECT_LT(fine.get("augment_embedding.weight").abs().max().item<float>(), 1e-25f);
  const torch::Tensor conv = fine.get("conv_in.weight");
  EXPECT_LT(conv.narrow(1, 1, 1).abs().max().item<float>(), 1e-25f);
  EXPECT_TRUE(conv.narrow(1, 0, 1).equal(plain.get("conv_in.weight")));
  expect_error({"train", "--config", "tiny.toml", "--out", "runs/x", "--init-from", "runs/fine",
                "--set", "model.self_condition=false"},
               2, "has model.self_condition = true, --set says false; leave it out");
  expect_error({"train", "--config", "tiny.toml", "--out", "runs/x", "--init-from", "runs/fine",
                "--set", "model.augment_labels=false"},
               2, "has model.augment_labels = true, --set says false; leave it out");
}

TEST_F(TrainingFeatures, LabelsWithoutAugmentationAreRefused) {
  expect_error(
      {"train", "--config", "tiny.toml", "--out", "runs/x", "--set", "model.augment_labels=true"},
      2, "nothing is augmented; set data.augment = \"edm\"");
  EXPECT_EQ(run(joined({"train", "--config", "tiny.toml", "--out", "runs/x", "--dry-run"},
                       joined(joined(kAugmented, kSelf), kCoupled)))
                .status,
            0);
}

}  // namespace
}  // namespace ddpm::training_features_test
