#include "ddpm/nn/drawing_network.h"

#include "ddpm/nn/model_file.h"
#include "ddpm/nn/unet.h"
#include "golden.h"
#include "moved_unet.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

namespace ddpm::nn {
namespace {

TEST(DrawingNetwork, OneDenoiserGivesEveryBatchItsClasses) {
  Golden golden = load_golden("classes");
  const torch::Tensor x = golden.get("x"), t = golden.get("t") + 1;  // two images
  const std::vector<int64_t> classes{3, 0, 4};
  const diffusion::Diffusion plain(diffusion::DiffusionConfig{});
  DrawingNetwork network(golden.net, plain,
                         {.classes = classes, .batch = 2, .precision = Precision::kFp64});
  const diffusion::Denoiser denoiser = network.denoiser();
  for (const std::vector<int64_t>& images :
       std::vector<std::vector<int64_t>>{{0, 1}, {2, 3}, {1}}) {  // the last batch is smaller
    const auto count = static_cast<int64_t>(images.size());
    network.set_batch_(images);
    const torch::Tensor labels = labels_in_turn(images, classes, torch::kCPU);
    const torch::Tensor xs = x.narrow(0, 0, count), ts = t.narrow(0, 0, count);
    EXPECT_TRUE(
        denoiser(xs, ts).equal(make_denoiser(golden.net, plain, Precision::kFp64, labels)(xs, ts)))
        << "batch of image " << images[0];
  }
}

TEST(DrawingNetwork, NeedsNoClassesWhereTheNetworkKnowsNone) {
  Golden golden = load_golden("ho");
  DrawingNetwork network(golden.net, diffusion::Diffusion(diffusion::DiffusionConfig{}),
                         {.batch = 2, .precision = Precision::kFp64});
  network.set_batch_({5, 6});
  const torch::Tensor prediction = network.denoiser()(golden.get("x"), golden.get("t") + 1);
  EXPECT_LT(relative_error(prediction, golden.get("output")), golden.tolerance());
}

// A small network with 3 classes and a null class; all its weights matter.
UNet guided_unet(bool null_class = true) {
  UNetConfig config = small_config(3);
  config.class_conditional = true;
  config.null_class = null_class;
  UNet unet = moved_unet(config);
  unet->eval();
  return unet;
}

class GuidedDrawing : public testing::Test {
 protected:
  torch::Tensor output(const diffusion::Guidance& guidance, const UNet& guide = nullptr) {
    DrawingNetwork network(unet_, diffusion_,
                           {.classes = {2, 0},
                            .batch = 3,
                            .precision = Precision::kFp64,
                            .guidance = guidance,
                            .guide = guide});
    network.set_batch_({0, 1});
    return network.denoiser()(x_, t_);
  }
  torch::Tensor of_labels(const std::vector<int64_t>& labels) {
    return make_denoiser(unet_, diffusion_, Precision::kFp64, torch::tensor(labels))(x_, t_);
  }

  UNet unet_ = guided_unet();
  diffusion::Diffusion diffusion_{diffusion::DiffusionConfig{}};
  torch::Tensor x_ = torch::linspace(-1, 1, 128, torch::kDouble).view({2, 1, 8, 8});
  torch::Tensor t_ = torch::full({2}, 500, torch::kLong);
};

TEST_F(GuidedDrawing, WeightOneIsTheClassAndWeightZeroIsNoClass) {
  EXPECT_TRUE(torch::equal(output({}), of_labels({2, 0})));
  EXPECT_TRUE(torch::equal(output({.weight = 0}), of_labels({3, 3})));
  EXPECT_GT((of_labels({2, 0}) - of_labels({3, 3})).abs().max().item<double>(), 1e-3);
}

// Both halves of the batch give what two calls give (Ho and Salimans 2022, Eq. 6).
TEST_F(GuidedDrawing, ExtrapolatesFromNoClassThroughTheClass) {
  const torch::Tensor with = of_labels({2, 0}), without = of_labels({3, 3});
  EXPECT_LT(relative_error(output({.weight = 2.5}), without + 2.5 * (with - without)), 1e-12);
}

TEST_F(GuidedDrawing, ASecondNetworkGuides) {
  UNet guide = guided_unet(/*null_class=*/false);
  const torch::NoGradGuard no_grad;
  for (auto& p : guide->parameters()) p *= 0.9;
  const torch::Tensor with = of_labels({2, 0});
  const torch::Tensor without =
      make_denoiser(guide, diffusion_, Precision::kFp64, torch::tensor({2, 0}))(x_, t_);
  EXPECT_LT(relative_error(output({.weight = 2.5}, guide), without + 2.5 * (with - without)),
            1e-12);
  EXPECT_TRUE(torch::equal(output({}, guide), with));
}

// Against central differences, through both classes of a guided network.
TEST_F(GuidedDrawing, GivesTheGradientOfItsInputWhereAutogradIsOn) {
  for (torch::Tensor& parameter : unet_->parameters()) parameter.set_requires_grad(false);
  for (const double weight : {1.0, 2.5}) {
    const diffusion::Guidance guidance{.weight = weight};
    DrawingNetwork network(unet_, diffusion_,
                           {.classes = {2, 0},
                            .batch = 2,
                            .precision = Precision::kFp64,
                            .guidance = guidance,
                            .gradients = Gradients::kOfInput});
    network.set_batch_({0, 1});
    const diffusion::Denoiser denoiser = network.denoiser();
    torch::manual_seed(4);
    const torch::Tensor weights = torch::randn_like(x_), direction = torch::randn_like(x_);
    const auto value = [&](const torch::Tensor& x) { return (denoiser(x, t_) * weights).sum(); };

    const torch::Tensor x = x_.clone().requires_grad_();
    const torch::Tensor gradient = torch::autograd::grad({value(x)}, {x})[0];
    const torch::NoGradGuard no_grad;
    EXPECT_TRUE(denoiser(x_, t_).equal(output(guidance))) << "the same bits as without gradients";
    EXPECT_FALSE(denoiser(x, t_).requires_grad());
    const double h = 1e-5;  // error of order h^2
    const double slope =
        (value(x_ + h * direction) - value(x_ - h * direction)).item<double>() / (2 * h);
    EXPECT_NEAR((gradient * direction).sum().item<double>() / slope, 1.0, 1e-7) << weight;
  }
}

// The former update is a constant for the gradient, so the graph of the former call may be gone.
TEST_F(GuidedDrawing, MomentumKeepsNoGraph) {
  DrawingNetwork network(unet_, diffusion_,
                         {.classes = {2, 0},
                          .batch = 2,
                          .precision = Precision::kFp64,
                          .guidance = {.weight = 2.0, .momentum = -0.5},
                          .gradients = Gradients::kOfInput});
  network.set_batch_({0, 1});
  for (int call = 0; call < 3; ++call) {
    const torch::Tensor x = x_.clone().requires_grad_();
    const torch::Tensor output = network.denoiser()(x, t_);
    EXPECT_GT(torch::autograd::grad({output.sum()}, {x})[0].abs().max().item<double>(), 0.0);
  }
}

TEST_F(GuidedDrawing, NeedsANullClassOrASecondNetwork) {
  EXPECT_THROW(
      DrawingNetwork(guided_unet(false), diffusion_, {.classes = {0}, .guidance = {.weight = 2.0}}),
      c10::Error);
}

}  // namespace
}  // namespace ddpm::nn
