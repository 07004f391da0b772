#include "ddpm/nn/recompute.h"

#include "ddpm/nn/blocks.h"
#include "ddpm/nn/precision.h"
#include "golden.h"

#include <algorithm>

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/utils/lambda_post_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace ddpm::nn {
namespace {

// Three blocks of a 64x64 level, one after the other.
struct Chain {
  std::vector<ResnetBlock> blocks;
  double dropout;
  explicit Chain(double p) : dropout(p) {
    torch::manual_seed(1);
    for (int i = 0; i < 3; ++i) {
      ResnetBlockConfig config;
      config.in_channels = config.out_channels = 32;
      config.time_channels = 16;
      config.groups = 8;
      config.dropout = p;
      blocks.emplace_back(config);
    }
  }

  // Output, then the gradients of x, temb and all parameters.
  std::vector<torch::Tensor> run(bool again, Precision precision = Precision::kFp32) {
    torch::manual_seed(2);
    torch::Tensor x = torch::randn({2, 32, 64, 64}).contiguous(torch::MemoryFormat::ChannelsLast);
    torch::Tensor temb = torch::randn({2, 16});
    x.requires_grad_(), temb.requires_grad_();
    std::vector<torch::Tensor> leaves{x, temb};
    torch::Tensor h = x;
    const torch::Tensor time = torch::silu(temb);  // no leaf: autocast keeps the casts of leaves
    {
      const AutocastGuard autocast(torch::kCPU, precision);
      for (ResnetBlock& block : blocks) {
        const Part part = [block](const auto& in) mutable { return block(in[0], in[1]); };
        const auto parameters = block->parameters();
        leaves.insert(leaves.end(), parameters.begin(), parameters.end());
        h = again ? recompute(part, {h, time}, parameters, dropout > 0) : part({h, time});
      }
    }
    after_forward = torch::rand({1});
    for (torch::Tensor& leaf : leaves) leaf.mutable_grad() = torch::Tensor();
    h.to(torch::kFloat).square().mean().backward();
    std::vector<torch::Tensor> results{h.detach(), after_forward, torch::rand({1})};
    for (const torch::Tensor& leaf : leaves) results.push_back(leaf.grad().clone());
    return results;
  }
  torch::Tensor after_forward;
};

void expect_same_bits(Chain& chain, Precision precision) {
  const auto kept = chain.run(false, precision), again = chain.run(true, precision);
  ASSERT_EQ(kept.size(), again.size());
  for (size_t i = 0; i < kept.size(); ++i) EXPECT_TRUE(kept[i].equal(again[i])) << "result " << i;
}

TEST(Recompute, GivesTheSameBits) {
  Chain chain(0.0);
  expect_same_bits(chain, Precision::kFp32);
}

TEST(Recompute, UnderAutocastGivesTheSameBits) {
  Chain chain(0.0);
  expect_same_bits(chain, Precision::kBf16);
}

// And what is drawn afterwards is not disturbed.
TEST(Recompute, RepeatsDropout) {
  Chain chain(0.3);
  expect_same_bits(chain, Precision::kFp32);
}

TEST(Recompute, WithoutGradientsIsThePartItself) {
  const torch::NoGradGuard no_grad;
  const Part part = [](const auto& in) { return in[0] * 2; };
  EXPECT_FALSE(recompute(part, {torch::ones({2})}, {}, false).requires_grad());
}

// Small, but with all that a network can have: dropout, attention, scale and shift, both kinds of
// resampling.
UNet small_net(bool residual_resample) {
  UNetConfig config = load_golden("ho").config;
  const std::vector<int64_t> attended = attention_levels(config);
  config.image = {3, 16, 16};
  set_attention_levels_(config, attended);
  config.dropout = 0.3;
  config.time_scale_shift = config.residual_resample = residual_resample;
  torch::manual_seed(1);
  return UNet(config);
}

// The loss, then the gradients of all parameters.
std::vector<torch::Tensor> losses_and_gradients(UNet net, bool again, Precision precision) {
  net->set_recompute_(again);
  net->zero_grad();
  torch::manual_seed(2);
  const torch::Tensor x = torch::randn({2, 3, 16, 16}), t = torch::tensor({3, 700});
  torch::Tensor output;
  {
    const AutocastGuard autocast(torch::kCPU, precision);
    output = net(x, t);
  }
  const torch::Tensor loss = output.to(torch::kFloat).square().mean();
  loss.backward();
  std::vector<torch::Tensor> results{loss.detach()};
  for (const torch::Tensor& p : net->parameters()) results.push_back(p.grad());
  return results;
}

TEST(Recompute, ChangesNoBitOfANetworksGradients) {
  for (const bool residual_resample : {false, true}) {
    for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
      UNet net = small_net(residual_resample);
      const auto kept = losses_and_gradients(net, false, precision);
      const auto again = losses_and_gradients(net, true, precision);
      for (size_t i = 0; i < kept.size(); ++i)
        EXPECT_TRUE(kept[i].equal(again[i]))
            << "result " << i << ", " << config::to_string(precision) << ", " << residual_resample;
    }
  }
}

// c10d's Reducer counts on it: its hooks sit on the nodes that accumulate the gradients.
TEST(Recompute, EachGradientArrivesOnce) {
  UNet net = small_net(false);
  const auto parameters = net->parameters();
  std::vector<int> arrivals(parameters.size(), 0);
  std::vector<std::shared_ptr<torch::autograd::Node>> nodes;  // live as long as somebody keeps them
  for (size_t i = 0; i < parameters.size(); ++i) {
    nodes.push_back(torch::autograd::impl::grad_accumulator(parameters[i]));
    nodes.back()->add_post_hook(std::make_unique<torch::autograd::utils::LambdaPostHook>(
        [&arrivals, i](const auto& outputs, const auto&) {
          ++arrivals[i];
          return outputs;
        },
        [](auto&) {}));
  }
  losses_and_gradients(net, true, Precision::kFp32);
  EXPECT_EQ(arrivals, std::vector<int>(parameters.size(), 1));
}

// The most bytes of tensors that this thread holds at once.
class PeakMemory : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, int64_t bytes, size_t, size_t, c10::Device) override {
    now_ += bytes;
    peak_ = std::max(peak_, now_);
  }
  bool memoryProfilingEnabled() const override { return true; }
  int64_t peak() const { return peak_; }

 private:
  int64_t now_ = 0, peak_ = 0;
};

int64_t peak_of(Chain& chain, bool again) {
  const auto memory = std::make_shared<PeakMemory>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, memory);
  chain.run(again);
  return memory->peak();
}

// A block keeps five maps (two normalised, two convolved, one in); again, one and a block's own.
TEST(Recompute, HoldsLess) {
  Chain chain(0.3);
  chain.run(false);  // gradients are there
  const int64_t kept = peak_of(chain, false), again = peak_of(chain, true);
  EXPECT_LT(static_cast<double>(again), 0.75 * static_cast<double>(kept))
      << again << " of " << kept << " bytes";
}

}  // namespace
}  // namespace ddpm::nn
