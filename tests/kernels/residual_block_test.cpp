#include "ddpm/kernels/residual_block.h"

#include "src/kernels/dropout.h"
#include "src/kernels/fused_block.h"
#include "tests/base/test_purpose.h"
#include "tests/kernels/normal.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace ddpm::kernels::residual_block_test {
namespace {

constexpr auto kLast = torch::MemoryFormat::ChannelsLast;
const RngKey kKey = rng_key(2020, kTestPurpose);
constexpr int64_t kDropoutKey = -987654321;

torch::Tensor normal(at::IntArrayRef shape, int64_t id) {
  return normal_row(kKey, shape, id, torch::kDouble);
}

struct Case {
  std::string name;
  int64_t batch, channels, skip, out, groups, height, width;
  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }
  bool add, scale_shift;
  double dropout = 0.0;
};

std::vector<Case> cases() {
  return {{"identity", 2, 8, 0, 8, 4, 4, 4, true, false},
          {"shortcut", 2, 8, 0, 16, 4, 5, 3, true, false},
          {"skip", 3, 16, 8, 8, 8, 4, 6, true, false},
          {"skip_that_cuts_a_group", 2, 16, 8, 16, 8, 3, 5, true, false},
          {"odd_skip", 1, 9, 6, 6, 3, 5, 5, true, false},
          {"scaled_and_shifted", 2, 8, 8, 8, 4, 4, 4, false, true},
          {"dropout", 2, 16, 0, 16, 4, 6, 6, true, false, 0.25},
          {"everything", 2, 24, 16, 16, 8, 7, 5, true, true, 0.1}};
}

// x, skip, then everything that a block is made of; undefined where a case has none.
std::vector<torch::Tensor> tensors_of(const Case& c) {
  const int64_t in = c.channels + c.skip;
  const auto images = [&](int64_t channels, int64_t id) {
    if (channels == 0) return torch::Tensor();
    return normal({c.batch, channels, c.height, c.width}, id).contiguous(kLast);
  };
  const auto norm = [&](int64_t n, int64_t id) { return normal({n}, id) * 0.3 + 1; };
  const auto conv = [&](int64_t o, int64_t i, int64_t k, int64_t id) {
    return (normal({o, i, k, k}, id) / std::sqrt(static_cast<double>(i * k * k))).contiguous(kLast);
  };
  const bool shortcut = in != c.out;
  const auto per_image = [&](bool wanted, int64_t id) {
    return wanted ? normal({c.batch, c.out}, id) * 0.5 : torch::Tensor();
  };
  return {images(c.channels, 0),
          images(c.skip, 1),
          norm(in, 2),
          normal({in}, 3),
          conv(c.out, in, 3, 4),
          normal({c.out}, 5),
          norm(c.out, 6),
          normal({c.out}, 7),
          per_image(c.add, 8),
          per_image(c.scale_shift, 9),
          per_image(c.scale_shift, 10),
          conv(c.out, c.out, 3, 11),
          normal({c.out}, 12),
          shortcut ? conv(c.out, in, 1, 13) : torch::Tensor(),
          shortcut ? normal({c.out}, 14) : torch::Tensor()};
}
constexpr bool kIsImageOrWeight[]{true,  true,  false, false, true,  false, false, false,
                                  false, false, false, true,  false, true,  false};

ResidualBlock block_of(const Case& c, const std::vector<torch::Tensor>& t) {
  ResidualBlock block;
  block.norm1 = {t[2], t[3], c.groups, 1e-6, {}};
  block.conv1 = {t[4], t[5]};
  block.norm2 = {t[6], t[7], c.groups == 8 ? 4 : c.groups, 1e-6, {t[8], t[9], t[10]}};
  if (c.out % block.norm2.groups != 0) block.norm2.groups = 1;
  block.dropout = c.dropout;
  block.conv2 = {t[11], t[12]};
  block.shortcut = {t[13], t[14]};
  return block;
}

torch::Tensor dropped(const torch::Tensor& h, double p) {
  if (p == 0.0) return h;
  torch::Tensor factors = torch::empty(h.sizes(), torch::kDouble).contiguous(kLast);
  const Dropout dropout = dropout_of(p, &kDropoutKey);
  for (int64_t i = 0; i < factors.numel(); ++i) {
    double one[1] = {1.0};
    drop(one, dropout, dropout_key(dropout), i);
    factors.data_ptr<double>()[i] = one[0];
  }
  return h * factors;
}

// Ho 2020, App. B, of ATen's operations.
torch::Tensor reference(const ResidualBlock& b, const torch::Tensor& x, const torch::Tensor& skip) {
  const auto per_pixel = [](const torch::Tensor& t) { return t.unsqueeze(-1).unsqueeze(-1); };
  const auto norm = [](const Norm& n, const torch::Tensor& h) {
    return at::group_norm(h, n.groups, n.weight, n.bias, n.eps);
  };
  const Modulation& m = b.norm2.modulation;
  const torch::Tensor in = skip.defined() ? torch::cat({x, skip}, 1) : x;
  torch::Tensor h = at::conv2d(torch::silu(norm(b.norm1, in)), b.conv1.weight, b.conv1.bias, 1, 1);
  if (m.add.defined()) h = h + per_pixel(m.add);
  h = norm(b.norm2, h);
  if (m.scale.defined()) h = h * (1 + per_pixel(m.scale)) + per_pixel(m.shift);
  h = dropped(torch::silu(h), b.dropout);
  h = at::conv2d(h, b.conv2.weight, b.conv2.bias, 1, 1);
  if (!b.shortcut.weight.defined()) return h + in;
  return h + at::conv2d(in, b.shortcut.weight, b.shortcut.bias);
}

// y, then the gradient of every defined tensor, on the CPU in float64.
template <class Block>
std::vector<torch::Tensor> results_of(const Case& c, const std::vector<torch::Tensor>& tensors,
                                      const Block& block) {
  std::vector<torch::Tensor> leaves;
  for (const torch::Tensor& t : tensors)
    leaves.push_back(t.defined() ? t.detach().clone().requires_grad_() : t);
  const torch::Tensor y = block(block_of(c, leaves), leaves[0], leaves[1]);
  y.backward(normal(y.sizes(), 99).contiguous(kLast).to(y.options()));
  std::vector<torch::Tensor> results{y.detach()};
  for (const torch::Tensor& t : leaves) {
    if (t.defined()) results.push_back(t.grad());
  }
  for (torch::Tensor& t : results) t = t.cpu().to(torch::kDouble);
  return results;
}

double difference(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).norm().item<double>() / b.norm().item<double>();
}

torch::Tensor fused(const ResidualBlock& block, const torch::Tensor& x, const torch::Tensor& skip) {
  const torch::Tensor key =
      torch::full({1}, kDropoutKey, torch::dtype(torch::kLong).device(x.device()));
  return fused_block(block, x, skip, block.dropout > 0 ? key : torch::Tensor());
}

void expect_equal(const Case& c, torch::Device device, torch::Dtype image, torch::Dtype other,
                  double bound) {
  std::vector<torch::Tensor> rounded = tensors_of(c), ours;
  for (size_t i = 0; i < rounded.size(); ++i) {
    if (!rounded[i].defined()) {
      ours.emplace_back();
      continue;
    }
    ours.push_back(rounded[i].to(device, kIsImageOrWeight[i] ? image : other));
    rounded[i] = ours[i].cpu().to(torch::kDouble);
  }
  const auto exact = results_of(c, rounded, reference), found = results_of(c, ours, fused);
  ASSERT_EQ(exact.size(), found.size());
  for (size_t i = 0; i < exact.size(); ++i)
    EXPECT_LT(difference(found[i], exact[i]), bound) << c.name << ", result " << i;
}

class FusedBlock : public testing::TestWithParam<Case> {};

TEST_P(FusedBlock, EqualsAtenInFloat64) {
  expect_equal(GetParam(), torch::kCPU, torch::kDouble, torch::kDouble, 1e-10);
}
TEST_P(FusedBlock, InFloat32IsAsCloseAsRoundingAllows) {
  expect_equal(GetParam(), torch::kCPU, torch::kFloat, torch::kFloat, 2e-5);
}

INSTANTIATE_TEST_SUITE_P(All, FusedBlock, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

// The way to it: on the CPU the block is its two halves, with the same result.
TEST(ResidualBlock, OfTheHalvesEqualsAten) {
  for (Case c : cases()) {
    c.dropout = 0.0;  // drawn by torch
    const auto exact = results_of(c, tensors_of(c), reference);
    const auto found =
        results_of(c, tensors_of(c), [](const auto& block, const auto& x, const auto& skip) {
          return residual_block(block, x, x, skip);
        });
    for (size_t i = 0; i < exact.size(); ++i)
      EXPECT_LT(difference(found[i], exact[i]), 1e-10) << c.name << ", result " << i;
  }
}

class FusedBlockGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device on this machine";
  }
};

std::vector<Case> gpu_cases() {
  std::vector<Case> all = cases();
  all.push_back({"level", 4, 128, 0, 256, 32, 16, 16, true, false, 0.1});
  all.push_back({"way_up", 4, 256, 128, 128, 32, 32, 32, true, false, 0.1});
  return all;
}

TEST_F(FusedBlockGpu, EqualsAtenOnTheCpuInFloat64) {
  for (const Case& c : gpu_cases())
    expect_equal(c, torch::kCUDA, torch::kDouble, torch::kDouble, 1e-10);
}
// Four roundings to 2^-9 one after the other, and their echo in the gradients.
TEST_F(FusedBlockGpu, InBfloat16IsAsCloseAsRoundingAllows) {
  for (const Case& c : gpu_cases())
    expect_equal(c, torch::kCUDA, torch::kBFloat16, torch::kFloat, 2e-2);
}
TEST_F(FusedBlockGpu, GivesTheSameBitsAgain) {
  for (const Case& c : gpu_cases()) {
    std::vector<torch::Tensor> t = tensors_of(c);
    for (size_t i = 0; i < t.size(); ++i) {
      if (t[i].defined())
        t[i] = t[i].to(torch::kCUDA, kIsImageOrWeight[i] ? torch::kBFloat16 : torch::kFloat);
    }
    const auto once = results_of(c, t, fused), again = results_of(c, t, fused);
    EXPECT_TRUE(once[0].equal(again[0])) << c.name;
    EXPECT_TRUE(once[1].equal(again[1])) << c.name;
  }
}

}  // namespace
}  // namespace ddpm::kernels::residual_block_test
