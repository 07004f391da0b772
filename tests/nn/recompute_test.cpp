#include "ddpm/nn/recompute.h"

#include "ddpm/nn/precision.h"
#include "ddpm/nn/resnet_block.h"

#include <algorithm>

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

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
    {
      const AutocastGuard autocast(torch::kCPU, precision);
      for (ResnetBlock& block : blocks) {
        const Part part = [block](const auto& in) mutable { return block(in[0], in[1]); };
        const auto parameters = block->parameters();
        leaves.insert(leaves.end(), parameters.begin(), parameters.end());
        h = again ? recompute(part, {h, temb}, parameters, dropout > 0) : part({h, temb});
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
