#include "ddpm/bench/profile.h"
#include "src/bench/convolutions.h"

#include <thread>

#include <ATen/ThreadLocalState.h>
#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::bench {
namespace {

// Multiplications and additions counted by hand.
TEST(OpRecorder, CountsTheWorkOfConvolutionsProductsAndAttention) {
  const torch::Tensor x = torch::zeros({2, 3, 8, 10}), weight = torch::zeros({5, 3, 3, 3});
  const torch::Tensor q = torch::zeros({2, 4, 6, 7});
  double flops = 0.0;
  std::vector<OpShape> shapes;
  {
    const OpRecorder recorder;
    torch::conv2d(x, weight, torch::zeros({5}), /*stride=*/2, /*padding=*/1);
    torch::linear(torch::zeros({2, 6, 7}), torch::zeros({9, 7}));
    at::scaled_dot_product_attention(q, q, q);
    flops = recorder.flops();
    shapes = recorder.shapes();
  }
  ASSERT_EQ(shapes.size(), 3u);
  EXPECT_EQ(shapes[0].flops, 2.0 * 2 * 4 * 5 * 5 * 3 * 9);
  EXPECT_EQ(shapes[1].flops, 2.0 * 2 * 6 * 7 * 9);
  EXPECT_EQ(shapes[2].flops, 2 * 2.0 * 2 * 4 * 6 * 6 * 7);
  EXPECT_EQ(flops, shapes[0].flops + shapes[1].flops + shapes[2].flops);
  torch::conv2d(x, weight);  // nobody listens any more
}

TEST(OpRecorder, SelfTimesAddUpAndBackwardIsHeard) {
  const OpRecorder recorder;
  const torch::Tensor x = torch::ones({1, 2, 4, 4}).requires_grad_();
  torch::conv2d(x, torch::ones({3, 2, 3, 3})).sum().backward();
  const auto& totals = recorder.totals();
  ASSERT_TRUE(totals.contains("aten::conv2d"));
  EXPECT_EQ(totals.at("aten::conv2d").calls, 1);
  EXPECT_TRUE(totals.contains("aten::convolution_backward"));
  for (const auto& [name, total] : totals) EXPECT_GE(total.self_s, 0.0) << name;
}

// Autograd carries a thread's callbacks to its device's thread in just this way.
TEST(OpRecorder, HearsTheThreadsThatAutogradHandsItsStateTo) {
  const torch::Tensor x = torch::ones({1, 2, 4, 4}), weight = torch::ones({3, 2, 3, 3});
  const OpRecorder recorder;
  torch::relu(x);
  std::thread([&, state = at::ThreadLocalState()] {
    const at::ThreadLocalStateGuard guard(state);
    torch::conv2d(x, weight);
  }).join();
  const auto& totals = recorder.totals();
  ASSERT_TRUE(totals.contains("aten::conv2d"));
  EXPECT_EQ(totals.at("aten::conv2d").calls, 1);
  EXPECT_EQ(totals.at("aten::relu").calls, 1);
  ASSERT_EQ(recorder.shapes().size(), 1u);
}

TEST(OpRecorder, IsRefusedBesideAnother) {
  {
    const OpRecorder first;
    EXPECT_THROW(OpRecorder(), c10::Error);
  }
  const OpRecorder again;
}

TEST(Convolutions, AreThe3x3OnesOfTheShapesGiven) {
  const OpShape three{"aten::convolution", {1, 4, 8, 8}, {6, 4, 3, 3}, {1, 1}, {1, 1}, 100.0};
  OpShape one = three;
  one.weight = {6, 4, 1, 1};
  const Convolutions all({three, one, three}, torch::kCPU, torch::kFloat);
  EXPECT_EQ(all.flops(), 200.0);
  const OpRecorder recorder;
  all.forward_backward();
  EXPECT_EQ(recorder.totals().at("aten::convolution").calls, 2);
  EXPECT_EQ(recorder.totals().at("aten::convolution_backward").calls, 2);
}

}  // namespace
}  // namespace ddpm::bench
