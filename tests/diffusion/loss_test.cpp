#include "ddpm/diffusion/diffusion.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::diffusion {
namespace {

TEST(SimpleLoss, IsTheMeanSquareOfEachSamplesElements) {
  const torch::Tensor target = torch::zeros({2, 1, 1, 2});
  const torch::Tensor prediction = torch::tensor({1.0f, 2.0f, 3.0f, 5.0f}).view({2, 1, 1, 2});
  const torch::Tensor each = Diffusion::unweighted_loss(prediction, target);
  EXPECT_EQ(each.sizes(), std::vector<int64_t>{2});
  EXPECT_FLOAT_EQ(each[0].item<float>(), 2.5f);
  EXPECT_FLOAT_EQ(each[1].item<float>(), 17.0f);
}

TEST(SimpleLoss, GradientIsTwiceTheErrorOverTheNumberOfElements) {
  const torch::Tensor target = torch::rand({3, 2, 4, 4}, torch::kFloat64);
  const torch::Tensor prediction = torch::rand({3, 2, 4, 4}, torch::kFloat64).requires_grad_();
  Diffusion::unweighted_loss(prediction, target).mean().backward();
  const torch::Tensor want = 2 * (prediction.detach() - target) / 96;
  EXPECT_TRUE(torch::allclose(prediction.grad(), want, 1e-12, 1e-15));
}

TEST(SimpleLoss, WidensALowPrecisionPrediction) {
  const torch::Tensor prediction = torch::full({1, 1000}, 0.1, torch::kBFloat16);
  const torch::Tensor target = torch::zeros({1, 1000}, torch::kFloat32);
  const torch::Tensor loss = Diffusion::unweighted_loss(prediction, target);
  EXPECT_EQ(loss.scalar_type(), torch::kFloat32);
  // bfloat16's 0.1 is 0.10009765625; its square in bfloat16 would be off by up to 2e-3 of itself.
  EXPECT_NEAR(loss.item<double>(), 0.10009765625 * 0.10009765625, 1e-8);
}

TEST(SimpleLoss, RefusesShapesThatWouldBroadcast) {
  EXPECT_THROW(Diffusion::unweighted_loss(torch::zeros({2, 1, 2, 2}), torch::zeros({2, 3, 2, 2})),
               c10::Error);
}

TEST(SimpleLoss, IgnoresALearnedVariance) {
  const torch::Tensor target = torch::rand({2, 3, 4, 4}), output = torch::rand({2, 6, 4, 4});
  EXPECT_TRUE(torch::equal(Diffusion::unweighted_loss(output, target),
                           Diffusion::unweighted_loss(output.narrow(1, 0, 3), target)));
}

TEST(WeightedLoss, IsTheWeightTimesTheUnweightedLoss) {
  const Schedule schedule({});
  const torch::Tensor t = torch::tensor({1, 500, 1000}, torch::kInt64);
  const torch::Tensor loss = torch::tensor({0.5f, 2.0f, 4.0f});
  EXPECT_TRUE(torch::equal(Diffusion(schedule, Prediction::kV).weighted(loss, t), loss));
  const LossWeight weight = [](const torch::Tensor& steps) { return steps.to(torch::kDouble) / 8; };
  const torch::Tensor weighted = Diffusion(schedule, Prediction::kV, weight).weighted(loss, t);
  EXPECT_EQ(weighted.scalar_type(), torch::kFloat);
  EXPECT_TRUE(torch::equal(weighted, torch::tensor({0.0625f, 125.0f, 500.0f})));
}

}  // namespace
}  // namespace ddpm::diffusion
