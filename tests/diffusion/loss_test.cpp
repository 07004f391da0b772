#include "ddpm/diffusion/loss.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::diffusion {
namespace {

TEST(SimpleLoss, IsTheMeanSquareOverAllElements) {
  const torch::Tensor target = torch::zeros({2, 1, 1, 2});
  const torch::Tensor prediction = torch::tensor({1.0f, 2.0f, 3.0f, 5.0f}).view({2, 1, 1, 2});
  EXPECT_FLOAT_EQ(simple_loss(prediction, target).item<float>(), (1 + 4 + 9 + 25) / 4.0f);
  const torch::Tensor each = simple_loss_per_sample(prediction, target);
  EXPECT_EQ(each.sizes(), std::vector<int64_t>{2});
  EXPECT_FLOAT_EQ(each[0].item<float>(), 2.5f);
  EXPECT_FLOAT_EQ(each[1].item<float>(), 17.0f);
}

TEST(SimpleLoss, GradientIsTwiceTheErrorOverTheNumberOfElements) {
  const torch::Tensor target = torch::rand({3, 2, 4, 4}, torch::kFloat64);
  const torch::Tensor prediction = torch::rand({3, 2, 4, 4}, torch::kFloat64).requires_grad_();
  simple_loss(prediction, target).backward();
  const torch::Tensor want = 2 * (prediction.detach() - target) / 96;
  EXPECT_TRUE(torch::allclose(prediction.grad(), want, 1e-12, 1e-15));
}

TEST(SimpleLoss, WidensALowPrecisionPrediction) {
  const torch::Tensor prediction = torch::full({1, 1000}, 0.1, torch::kBFloat16);
  const torch::Tensor target = torch::zeros({1, 1000}, torch::kFloat32);
  const torch::Tensor loss = simple_loss(prediction, target);
  EXPECT_EQ(loss.scalar_type(), torch::kFloat32);
  // bfloat16's 0.1 is 0.10009765625; its square in bfloat16 would be off by up to 2e-3 of itself.
  EXPECT_NEAR(loss.item<double>(), 0.10009765625 * 0.10009765625, 1e-8);
}

TEST(SimpleLoss, RefusesShapesThatWouldBroadcast) {
  EXPECT_THROW(simple_loss(torch::zeros({2, 1}), torch::zeros({2, 3})), c10::Error);
}

}  // namespace
}  // namespace ddpm::diffusion
