#include "ddpm/base/error.h"
#include "ddpm/nn/drawing_network.h"
#include "ddpm/nn/model_file.h"
#include "ddpm/nn/unet.h"
#include "golden.h"
#include "moved_unet.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

// Networks that read a vector of each image (model.vector_conditional).

namespace ddpm::nn::vector_test {
namespace {

const double kNan = std::numeric_limits<double>::quiet_NaN();

VectorSpec small_spec() {
  return {.names = {"a", "b", "c"},
          .mean = {0.5, -3.0, 2.0},
          .deviation = {2.0, 0.25, 1.0},
          .rows = {1.0, -3.0, 2.0, 0.1, -2.5, 2.0}};
}

UNetConfig vector_config(bool vectors = true) {
  UNetConfig config = small_config();
  config.vector_conditional = vectors;
  config.null_class = vectors;
  if (vectors) config.vectors = small_spec();
  return config;
}

torch::Tensor rows_of(const std::vector<std::vector<double>>& rows) {
  std::vector<torch::Tensor> stacked;
  for (const auto& row : rows) stacked.push_back(torch::tensor(row, torch::kDouble));
  return torch::stack(stacked);
}

class VectorNetwork : public testing::Test {
 protected:
  VectorNetwork() { unet_->eval(); }
  torch::Tensor output(UNet& unet, const torch::Tensor& vectors) {
    return unet->forward(x_, t_, {}, {}, {}, vectors);
  }
  torch::Tensor parameter(const std::string& name) { return unet_->named_parameters()[name]; }

  const torch::NoGradGuard no_grad_;
  UNet unet_ = moved_unet(vector_config());
  torch::Tensor x_ = torch::linspace(-1, 1, 128, torch::kDouble).view({2, 1, 8, 8});
  torch::Tensor t_ = torch::tensor({500, 20});
  torch::Tensor v_ = rows_of({{1.5, -2.0, 0.0}, {-4.0, -3.0, 2.0}});
};

// The same network with W and b in the bias of the time embedding: W (v - mean) / deviation + b by
// hand, one image at a time.
TEST_F(VectorNetwork, AddsALinearMapOfTheStandardisedVectorToTheTimeEmbedding) {
  const torch::Tensor both = output(unet_, v_);
  const torch::Tensor z = rows_of({{0.5, 4.0, -2.0}, {-2.25, 0.0, 0.0}});
  UNet plain = moved_unet(vector_config(false));
  plain->eval();
  for (const auto& item : plain->named_parameters()) item.value().copy_(parameter(item.key()));
  torch::Tensor bias = plain->named_parameters()["time_embedding.linear_2.bias"];
  const torch::Tensor before = bias.clone();
  for (int64_t i = 0; i < 2; ++i) {
    bias.copy_(before + torch::mv(parameter("vector_embedding.weight"), z[i]) +
               parameter("vector_embedding.bias"));
    const torch::Tensor expected = plain->forward(x_.narrow(0, i, 1), t_.narrow(0, i, 1));
    EXPECT_LT(relative_error(both.narrow(0, i, 1), expected), 1e-10) << i;
  }
}

TEST_F(VectorNetwork, ARowOfNaNIsNoVector) {
  UNet plain = moved_unet(vector_config(false));
  plain->eval();
  for (const auto& item : plain->named_parameters()) item.value().copy_(parameter(item.key()));
  const torch::Tensor none = output(unet_, torch::full({2, 3}, kNan, torch::kDouble));
  EXPECT_TRUE(none.equal(plain->forward(x_, t_))) << "the whole contribution is left out, b too";
  torch::Tensor mixed = v_.clone();
  mixed[1].fill_(kNan);
  const torch::Tensor found = output(unet_, mixed);
  EXPECT_TRUE(found[0].equal(output(unet_, v_)[0]));
  EXPECT_TRUE(found[1].equal(none[1]));
  EXPECT_FALSE(output(unet_, v_)[1].equal(none[1]));
  EXPECT_TRUE(no_vectors(unet_->config(), 2, torch::kCPU).isnan().all().item<bool>());
}

TEST_F(VectorNetwork, AnImageWithoutAVectorHasNoGradientThere) {
  const torch::AutoGradMode with_grad(true);
  torch::Tensor mixed = v_.clone();
  mixed[1].fill_(kNan);
  output(unet_, mixed).square().sum().backward();
  for (const char* name : {"vector_embedding.weight", "vector_embedding.bias"}) {
    const torch::Tensor gradient = parameter(name).grad();
    ASSERT_TRUE(gradient.defined() && gradient.isfinite().all().item<bool>()) << name;
    EXPECT_GT(gradient.abs().max().item<double>(), 0.0) << name;
  }
  unet_->zero_grad();
  output(unet_, torch::full_like(v_, kNan)).square().sum().backward();
  EXPECT_EQ(parameter("vector_embedding.weight").grad().abs().max().item<double>(), 0.0);
}

TEST_F(VectorNetwork, WantsVectorsIfItReadsThem) {
  EXPECT_THROW(unet_->forward(x_, t_), c10::Error);
  EXPECT_THROW(output(unet_, v_.narrow(1, 0, 2)), c10::Error);
  UNet plain = moved_unet(vector_config(false));
  EXPECT_THROW(output(plain, v_), c10::Error);
}

// W z + b of standardised numbers, and rows of a class embedding, have variance 1.
TEST_F(VectorNetwork, BeginsAsLargeAsAClassAndOtherWeightsBeginAsEver) {
  UNetConfig wide = vector_config();
  wide.vectors = {};
  for (int64_t d = 0; d < 64; ++d) {
    wide.vectors.names.push_back(std::to_string(d));
    wide.vectors.mean.push_back(0.0);
    wide.vectors.deviation.push_back(1.0);
    wide.vectors.rows.push_back(0.0);
  }
  wide.channels = 64;
  UNetConfig other = wide;
  other.vector_conditional = false;
  UNet with(wide), without(other);
  initialize_(*with, 1);
  initialize_(*without, 1);
  const auto named = with->named_parameters();
  EXPECT_EQ(named.size(), without->named_parameters().size() + 2);
  for (const auto& item : without->named_parameters())
    EXPECT_TRUE(item.value().equal(named[item.key()])) << item.key();
  const torch::Tensor weight = named["vector_embedding.weight"];
  ASSERT_EQ(weight.sizes(), (torch::IntArrayRef{256, 64}));
  // Half of it is b, so that the mean vector differs from none. The mean of 256 sums of 64 squares has
  // a standard error of 0.5 sqrt(2 / (256 * 64)) = 0.0055, that of 256 squares 0.5 sqrt(2 / 256) = 0.044.
  EXPECT_NEAR(weight.square().sum(1).mean().item<double>(), 0.5, 5 * 0.0055);
  EXPECT_NEAR(named["vector_embedding.bias"].square().mean().item<double>(), 0.5, 4 * 0.044);
}

TEST_F(VectorNetwork, ItsDescriptionIsReadAsWritten) {
  const ModelDescription description{vector_config(), {}, {}};
  config::Document document = config::Document::parse(to_toml(description), "model.toml");
  EXPECT_EQ(read_model_description(document), description);
  EXPECT_EQ(without_unused(description), description);
  const nlohmann::ordered_json json = to_json(description);
  EXPECT_EQ(json["vectors"]["names"], (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(json["vectors"]["rows"], 2) << "their number";
  const std::string plain = to_toml({vector_config(false), {}, {}});
  EXPECT_EQ(plain.find("vector"), std::string::npos) << "as before the keys existed";
}

TEST_F(VectorNetwork, ADescriptionWhoseNumbersDoNotFitIsRefused) {
  const std::string text = to_toml({vector_config(), {}, {}});
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"names = [\"a\", \"b\", \"c\"]", "names = [\"a\", \"b\"]"},
           {"deviation = [2.0", "deviation = [0.0"},
           {"rows = [1.0, ", "rows = ["},
           {"[vectors]", "[other]"}}) {
    std::string changed = text;
    const size_t at = changed.find(from);
    ASSERT_NE(at, std::string::npos) << from << "\n" << text;
    changed.replace(at, from.size(), to);
    config::Document document = config::Document::parse(changed, "model.toml");
    EXPECT_THROW(read_model_description(document), ConfigError) << to;
  }
}

TEST(VectorSpec, HasMeanAndDeviationOfEachColumn) {
  const torch::Tensor rows =
      rows_of({{1, 0.1, 7}, {2, 0.1, 7}, {4, 0.1, -1}, {5, 0.1, 3}}).to(torch::kFloat);
  const VectorSpec spec = vector_spec({"x", "constant", "y"}, rows);
  EXPECT_DOUBLE_EQ(spec.mean[0], 3.0);
  EXPECT_DOUBLE_EQ(spec.deviation[0], std::sqrt(2.5));
  EXPECT_DOUBLE_EQ(spec.mean[2], 4.0);
  EXPECT_DOUBLE_EQ(spec.deviation[2], std::sqrt(11.0));
  EXPECT_EQ(spec.mean[1], 0.1F);
  EXPECT_EQ(spec.deviation[1], 1.0);
  EXPECT_EQ(spec.rows[1], 0.1) << "as short as it was";
  EXPECT_TRUE(kept_vectors(spec).equal(rows));
}

TEST(VectorSpec, KeepsRowsSpreadOverTheImages) {
  const torch::Tensor many = torch::arange(2500, torch::kFloat).unsqueeze(1);
  const torch::Tensor kept = kept_vectors(vector_spec({"x"}, many));
  ASSERT_EQ(kept.sizes(), (torch::IntArrayRef{1000, 1}));
  EXPECT_EQ(kept[999][0].item<float>(), 2497.0F);
  EXPECT_EQ(kept[2][0].item<float>(), 5.0F);
  std::vector<std::string> names(1024);
  for (size_t i = 0; i < names.size(); ++i) names[i] = std::to_string(i);
  const VectorSpec wide = vector_spec(names, torch::rand({2000, 1024}));
  EXPECT_EQ(std::ssize(wide.rows), kKeptNumbers);
}

TEST(VectorSpec, RowsAreUsedInTurn) {
  const torch::Tensor table = rows_of({{1, 2}, {3, 4}, {5, 6}});
  EXPECT_TRUE(
      vectors_in_turn({0, 4, 300002, 2}, table).equal(rows_of({{1, 2}, {3, 4}, {5, 6}, {5, 6}})));
  EXPECT_FALSE(vectors_in_turn({0}, {}).defined());
}

class DrawingVectors : public VectorNetwork {
 protected:
  torch::Tensor drawn(double weight, const torch::Tensor& vectors, std::vector<int64_t> images,
                      const UNet& guide = nullptr) {
    DrawingNetwork network(unet_, diffusion_,
                           {.vectors = vectors,
                            .batch = 3,
                            .precision = Precision::kFp64,
                            .guidance = {.weight = weight},
                            .guide = guide});
    network.set_batch_(images);
    return network.denoiser()(x_, t_);
  }
  torch::Tensor of(const torch::Tensor& vectors) {
    return make_denoiser(unet_, diffusion_, Precision::kFp64, {{}, {}, {}, vectors})(x_, t_);
  }
  diffusion::Diffusion diffusion_{diffusion::DiffusionConfig{}};
};

TEST_F(DrawingVectors, ImagesHaveTheRowsInTurnAndTheKeptOnesByDefault) {
  const torch::Tensor rows = rows_of({{1, 2, 3}, {4, 5, 6}, {7, 8, 9}}).to(torch::kFloat);
  EXPECT_TRUE(drawn(1.0, rows, {5, 6}).equal(of(rows_of({{7, 8, 9}, {1, 2, 3}}))));
  const torch::Tensor kept = rows_of({{1.0, -3.0, 2.0}, {0.1F, -2.5, 2.0}});
  EXPECT_TRUE(drawn(1.0, {}, {4, 9}).equal(of(kept)));
}

TEST_F(DrawingVectors, WeightOneIsTheVectorAndWeightZeroIsNone) {
  const torch::Tensor rows = rows_of({{1, 2, 3}, {4, 5, 6}}).to(torch::kFloat);
  const torch::Tensor with = of(rows), without = of(torch::full({2, 3}, kNan));
  EXPECT_TRUE(drawn(1.0, rows, {0, 1}).equal(with));
  EXPECT_TRUE(drawn(0.0, rows, {0, 1}).equal(without));
  EXPECT_GT((with - without).abs().max().item<double>(), 1e-3);
  EXPECT_LT(relative_error(drawn(2.5, rows, {0, 1}), without + 2.5 * (with - without)), 1e-12);
}

TEST_F(DrawingVectors, ANetworkWithoutVectorsGuidesOneWithThem) {
  UNet guide = moved_unet(vector_config(false));
  guide->eval();
  const torch::Tensor rows = rows_of({{1, 2, 3}, {4, 5, 6}}).to(torch::kFloat);
  const torch::Tensor with = of(rows),
                      without = make_denoiser(guide, diffusion_, Precision::kFp64)(x_, t_);
  EXPECT_LT(relative_error(drawn(2.5, rows, {0, 1}, guide), without + 2.5 * (with - without)),
            1e-12);
}

TEST_F(DrawingVectors, ANetworkThatWasNeverTrainedWithoutDoesNotGuideItself) {
  UNetConfig config = vector_config();
  config.null_class = false;
  EXPECT_FALSE(can_be_guided(config));
  EXPECT_TRUE(can_be_guided(vector_config()));
  EXPECT_THROW(DrawingNetwork(moved_unet(config), diffusion_, {.guidance = {.weight = 2.0}}),
               c10::Error);
}

// Class and vector are left out together.
TEST_F(DrawingVectors, GuidanceLeavesOutClassAndVector) {
  UNetConfig config = vector_config();
  config.image.classes = 3;
  config.class_conditional = true;
  unet_ = moved_unet(config);
  unet_->eval();
  const torch::Tensor rows = rows_of({{1, 2, 3}, {4, 5, 6}}).to(torch::kFloat);
  DrawingNetwork network(unet_, diffusion_,
                         {.classes = {2, 1},
                          .vectors = rows,
                          .batch = 2,
                          .precision = Precision::kFp64,
                          .guidance = {.weight = 0.0}});
  network.set_batch_({0, 1});
  const torch::Tensor null =
      make_denoiser(unet_, diffusion_, Precision::kFp64,
                    {torch::tensor({3, 3}), {}, {}, torch::full({2, 3}, kNan)})(x_, t_);
  EXPECT_TRUE(network.denoiser()(x_, t_).equal(null));
}

}  // namespace
}  // namespace ddpm::nn::vector_test
