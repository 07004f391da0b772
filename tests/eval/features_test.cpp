#include "ddpm/base/error.h"
#include "ddpm/base/rng.h"
#include "ddpm/io/file.h"
#include "ddpm/io/torch_file.h"
#include "ddpm/nn/precision.h"
#include "src/data/procedural.h"
#include "src/eval/classifier.h"
#include "src/eval/digest.h"
#include "src/eval/inception.h"
#include "src/eval/script_features.h"
#include "tests/base/test_purpose.h"
#include "tests/eval/golden.h"
#include "tests/io/temporary_folder.h"

#include <cmath>
#include <functional>
#include <map>

#include <ATen/Context.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/utils.h>

namespace ddpm::eval {
namespace {

// The formula of scripts/make_eval_golden.py, by the sorted names' positions.
void fill_by_formula(Inception& net) {
  std::map<std::string, torch::Tensor> tensors;
  for (auto& item : net->named_parameters()) tensors[item.key()] = item.value();
  for (auto& item : net->named_buffers())
    if (!item.key().ends_with("num_batches_tracked")) tensors[item.key()] = item.value();
  const torch::NoGradGuard no_grad;
  int64_t position = 0;
  for (auto& [name, tensor] : tensors) {
    const auto place = static_cast<double>(position++);
    const double fan_in = tensor.dim() > 1 ? static_cast<double>(tensor[0].numel()) : 1.0;
    torch::Tensor value =
        (torch::arange(tensor.numel(), torch::kDouble) * (0.7 + 0.01 * place) + place).cos() *
        std::sqrt(2.0 / fan_in);
    if (name.ends_with("running_var") || name.ends_with("bn.weight")) {
      value = 1 + 0.3 * value / std::sqrt(2.0);
    } else if (tensor.dim() == 1) {
      value = 0.1 * value;
    }
    tensor.copy_(value.view_as(tensor));
  }
}

TEST(Inception, IsPytorchFidsNetwork) {
  const auto file = golden("inception");
  Inception net;
  net->to(torch::kDouble);
  net->eval();
  fill_by_formula(net);
  const torch::NoGradGuard no_grad;
  const Features f = net->forward(file.get("images").to(torch::kDouble) / 255.0);
  for (const auto& [name, found] : {std::pair{"features", f.pooled}, std::pair{"logits", f.logits},
                                    std::pair{"spatial", f.spatial}}) {
    const torch::Tensor expected = file.get(name);
    ASSERT_EQ(found.sizes(), expected.sizes()) << name;
    EXPECT_LT((found - expected).abs().max().item<double>(),
              1e-9 * expected.abs().max().item<double>())
        << name;
  }
}

TEST(Inception, ReadsAStateDictAndRefusesAnIncompleteOne) {
  const TemporaryFolder folder;
  Inception net;
  fill_by_formula(net);
  std::vector<io::NamedTensor> tensors;
  for (auto& item : net->named_parameters()) tensors.push_back({item.key(), item.value().detach()});
  for (auto& item : net->named_buffers()) tensors.push_back({item.key(), item.value()});
  io::write_torch_file(folder / "weights.pth", tensors);
  const auto extractor = open_features(folder / "weights.pth", torch::kCPU);
  const Features f = extractor->extract(golden("inception").get("images"));
  const torch::Tensor expected = golden("inception").get("features");
  // float32 against float64 through 94 layers.
  EXPECT_LT((f.pooled - expected).abs().max().item<double>(),
            1e-3 * expected.abs().max().item<double>());
  EXPECT_NE(extractor->description().distance_name, "FID")
      << "these weights are not the standard's";

  tensors.pop_back();  // num_batches_tracked: not needed
  tensors.pop_back();
  io::write_safetensors(folder / "short.safetensors", tensors);
  EXPECT_THROW(open_features(folder / "short.safetensors", torch::kCPU), IoError);
}

std::filesystem::path script(const TemporaryFolder& folder, const std::string& name,
                             const std::string& body) {
  torch::jit::Module module("M");
  module.define(body);
  module.save((folder / name).string());
  return folder / name;
}

TEST(ScriptFeatures, TakesTensorTupleAndDict) {
  const TemporaryFolder folder;
  const torch::Tensor images = torch::arange(2 * 1 * 4 * 4).view({2, 1, 4, 4}).to(torch::kByte);
  const torch::Tensor mean = images.to(torch::kFloat).mean(torch::IntArrayRef{1, 2, 3});
  const auto f = open_features(script(folder, "a.pt", R"(
def forward(self, x):
    return x.float()
)"),
                               torch::kCPU)
                     ->extract(images);
  ASSERT_EQ(f.pooled.sizes(), (std::vector<int64_t>{2, 3}))
      << "grey becomes RGB, a map is averaged";
  EXPECT_LT((f.pooled.select(1, 2) - mean).abs().max().item<double>(), 1e-5);

  const auto g = open_features(script(folder, "b.pt", R"(
def forward(self, x):
    y = x.float().mean([2, 3])
    return y, y * 2, x.float()
)"),
                               torch::kCPU)
                     ->extract(images);
  EXPECT_TRUE(torch::equal(g.logits, g.pooled * 2));
  EXPECT_EQ(g.spatial.size(1), 48);

  const auto h = open_features(script(folder, "c.pt", R"(
def forward(self, x):
    y = x.float().mean([2, 3])
    return {"logits": y + 1, "features": y}
)"),
                               torch::kCPU)
                     ->extract(images);
  EXPECT_TRUE(torch::equal(h.logits, h.pooled + 1));
  EXPECT_FALSE(h.spatial.defined());
}

TEST(ScriptFeatures, AsksADetectorForItsFeatures) {
  const TemporaryFolder folder;
  const auto extractor = open_features(script(folder, "detector.pt", R"(
def forward(self, x, return_features: bool = False):
    y = x.float().mean([2, 3])
    if return_features:
        return y
    return y.softmax(1)
)"),
                                       torch::kCPU);
  EXPECT_EQ(
      extractor->extract(torch::full({1, 3, 2, 2}, 9, torch::kByte)).pooled[0][0].item<float>(),
      9.0F);
  EXPECT_EQ(extractor->description().distance_name, "Frechet distance (features of detector.pt)");
}

TEST(ScriptFeatures, FilesThatAreNoneAreNamed) {
  const TemporaryFolder folder;
  io::write_file_synced(folder / "x.pt", std::string_view("no network"));
  EXPECT_THROW(open_features(folder / "x.pt", torch::kCPU), IoError);
  EXPECT_THROW(open_features(folder / "missing.pt", torch::kCPU), IoError);
  const auto empty = open_features(script(folder, "n.pt", R"(
def forward(self, x):
    return 3
)"),
                                   torch::kCPU);
  EXPECT_THROW(empty->extract(torch::zeros({1, 3, 2, 2}, torch::kByte)), IoError);
}

class TrainedClassifier : public testing::Test {
 protected:
  std::unique_ptr<Classifier> make(const std::string& cache) {
    return Classifier::of(data_, digest_of_images(data_), {.epochs = 6, .batch = 16},
                          folder_ / cache, torch::kCPU);
  }
  TemporaryFolder folder_;
  data::ProceduralShapes data_{600, {3, 16, 16}, 7};
};

TEST_F(TrainedClassifier, TellsClassesApartAndIsTheSameEachTime) {
  const auto one = make("a"), two = make("b");
  EXPECT_EQ(one->description().hash, two->description().hash);
  EXPECT_GT(one->accuracy(), 0.3) << "one in eight would be chance";
  const auto again = make("a");  // read
  EXPECT_EQ(one->description().hash, again->description().hash);
  EXPECT_EQ(one->accuracy(), again->accuracy());
  EXPECT_EQ(one->extract(data_.get(0).image.unsqueeze(0)).pooled.size(1), 128);
}

TEST_F(TrainedClassifier, ADamagedFileInTheCacheIsMadeAnew) {
  const auto one = make("a");
  const std::filesystem::path file = std::filesystem::directory_iterator(folder_ / "a")->path();
  std::vector<uint8_t> bytes = io::read_file(file);
  bytes[bytes.size() - 100] ^= 0x40;
  io::write_file_synced(file, std::span<const uint8_t>(bytes));
  EXPECT_EQ(make("a")->description().hash, one->description().hash);
  std::filesystem::resize_file(file, 1000);
  EXPECT_EQ(make("a")->description().hash, one->description().hash);
}

// The same images under other labels.
class Relabelled final : public data::Dataset {
 public:
  Relabelled(const data::Dataset& images, int64_t size, std::function<int64_t(int64_t)> label)
      : images_(images), size_(size), label_(std::move(label)) {}
  int64_t size() const override { return size_; }
  data::ImageShape shape() const override { return images_.shape(); }
  int64_t class_count() const override { return 3; }
  std::vector<std::string> class_names() const override { return {"a", "b", "c"}; }
  std::string description() const override { return "relabelled"; }
  data::Example get(int64_t i) const override { return {images_.get(i).image, label_(i)}; }

 private:
  const data::Dataset& images_;
  int64_t size_;
  std::function<int64_t(int64_t)> label_;
};

TEST_F(TrainedClassifier, SaysIfItIsHardlyBetterThanChance) {
  const auto of = [&](const data::Dataset& data) {
    return Classifier::of(data, digest_of_images(data), {.epochs = 6, .batch = 16}, folder_ / "c",
                          torch::kCPU);
  };
  const auto labels = random_permutation(600, rng_key(1, kTestPurpose), 0);  // of no meaning
  const auto noise = of(Relabelled(data_, 600, [&](int64_t i) { return labels[i] % 3; }));
  ASSERT_EQ(noise->description().warnings.size(), 1u);
  EXPECT_NE(noise->description().warnings[0].find("chance gets"), std::string::npos);
  EXPECT_LT(noise->accuracy(), noise->chance() + kMinSkill * (1.0 - noise->chance()));
  EXPECT_NE(noise->description().name.find("chance"), std::string::npos);

  // One of three colours of everything: easy to tell.
  class Tinted final : public data::Dataset {
   public:
    explicit Tinted(int64_t size) : size_(size) {}
    int64_t size() const override { return size_; }
    data::ImageShape shape() const override { return {3, 16, 16}; }
    int64_t class_count() const override { return 3; }
    std::vector<std::string> class_names() const override { return {"r", "g", "b"}; }
    std::string description() const override { return "tinted"; }
    data::Example get(int64_t i) const override {
      torch::Tensor image = torch::full({3, 16, 16}, 20 + i % 7, torch::kByte);
      image[i % 3].add_(150);
      return {image, i % 3};
    }

   private:
    int64_t size_;
  };
  const auto sure = of(Tinted(600));
  EXPECT_GT(sure->accuracy(), 0.9);
  EXPECT_TRUE(sure->description().warnings.empty()) << sure->description().warnings[0];
  EXPECT_NEAR(sure->chance(), 0.4, 0.12) << "the most frequent of three among 50";

  const auto few = of(Tinted(60));
  EXPECT_NE(few->description().warnings.back().find("45 images only"), std::string::npos);
}

TEST_F(TrainedClassifier, ImagesWithoutALabelAreRefused) {
  const Relabelled some(data_, 60, [](int64_t i) { return i == 17 ? -1 : i % 3; });
  EXPECT_THROW(Classifier::of(some, digest_of_images(some), {}, folder_ / "d", torch::kCPU),
               UsageError);
}

// What the globals say while it computes.
class Watching final : public FeatureExtractor {
 public:
  const ExtractorDescription& description() const override { return description_; }
  mutable bool tf32 = true, deterministic = false, graph = true;

 private:
  Features compute(const torch::Tensor& images) const override {
    tf32 = at::globalContext().allowTF32CuDNN() || at::globalContext().allowTF32CuBLAS();
    deterministic = at::globalContext().deterministicCuDNN();
    graph = torch::GradMode::is_enabled();
    return {images.to(torch::kFloat).flatten(1), {}, {}};
  }
  ExtractorDescription description_;
};

// So `eval --ckpt --precision tf32` measures pictures as `eval --samples` does.
TEST(FeatureExtractor, ComputesInFp32WhateverIsSampledAroundIt) {
  const nn::ArithmeticGuard outer(nn::Precision::kTf32, /*deterministic=*/false);
  const Watching watching;
  watching.extract(torch::zeros({1, 1, 2, 2}, torch::kByte));
  EXPECT_FALSE(watching.tf32);
  EXPECT_TRUE(watching.deterministic);
  EXPECT_FALSE(watching.graph);
  EXPECT_TRUE(at::globalContext().allowTF32CuDNN()) << "and leaves all as it was";
}

TEST_F(TrainedClassifier, NeverCallsItsDistanceFid) {
  EXPECT_EQ(make("a")->description().distance_name.find("FID"), std::string::npos);
}

}  // namespace
}  // namespace ddpm::eval
