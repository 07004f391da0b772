#include "src/kernels/fused_convolution.h"

#include "ddpm/kernels/convolution.h"
#include "tests/base/test_purpose.h"
#include "tests/kernels/bodies.h"
#include "tests/kernels/normal.h"

#include <cmath>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/types.h>

namespace ddpm::kernels::fused_convolution_test {
namespace {

const RngKey kKey = rng_key(2023, kTestPurpose);
constexpr auto kLast = torch::MemoryFormat::ChannelsLast;
constexpr double kHalfUlp = 1.0 / 256;  // of a bfloat16, relative

// Numbers that bfloat16 has, as float32.
torch::Tensor normal(at::IntArrayRef shape, int64_t id) {
  return normal_row(kKey, shape, id).to(torch::kBFloat16).to(torch::kFloat);
}

struct Case {
  std::string name;
  int64_t batch, in, out, height, width;
  bool norm = true, residual = true, modulation = true;
  bool weight_last = true;
  int64_t skip = 0;  // of the input channels, those of a skip connection
  bool shortcut = false;
};

struct Inputs {
  torch::Tensor x, weight, bias, residual, dy, shortcut_weight, shortcut_bias, d_shortcut;
  Norm norm;
  int64_t skip_channels;

  torch::Tensor own(const torch::Tensor& all) const {
    return all.narrow(1, 0, all.size(1) - skip_channels).contiguous(kLast);
  }
  torch::Tensor skip(const torch::Tensor& all) const {
    if (skip_channels == 0) return {};
    return all.narrow(1, all.size(1) - skip_channels, skip_channels).contiguous(kLast);
  }

  explicit Inputs(const Case& c) : skip_channels(c.skip) {
    x = normal({c.batch, c.in, c.height, c.width}, 0).contiguous(kLast);
    // Of the size of 1 / sqrt(9 C), by a power of two, which keeps them bfloat16.
    weight = normal({c.out, c.in, 3, 3}, 1) * std::exp2(-std::round(std::log2(9.0 * c.in) / 2));
    if (c.weight_last) weight = weight.contiguous(kLast);
    bias = normal({c.out}, 2);
    dy = normal({c.batch, c.out, c.height, c.width}, 3).contiguous(kLast);
    if (c.residual) residual = normal({c.batch, c.out, c.height, c.width}, 4).contiguous(kLast);
    if (c.shortcut) {
      shortcut_weight = normal({c.out, c.in, 1, 1}, 8) * 0.125;
      shortcut_bias = normal({c.out}, 9);
      d_shortcut = normal({c.batch, c.out, c.height, c.width}, 10).contiguous(kLast);
    }
    if (!c.norm) return;
    norm = {normal({c.in}, 5), normal({c.in}, 6), c.in / 8, 1e-5, {}};
    if (c.modulation) norm.modulation.add = normal({c.batch, c.in}, 7);
  }

  std::vector<torch::Tensor> leaves(torch::Dtype type) const {
    std::vector<torch::Tensor> all{x, weight, bias};
    if (residual.defined()) all.push_back(residual);
    if (norm.weight.defined()) all.insert(all.end(), {norm.weight, norm.bias});
    if (norm.modulation.add.defined()) all.push_back(norm.modulation.add);
    if (shortcut_weight.defined()) all.insert(all.end(), {shortcut_weight, shortcut_bias});
    for (torch::Tensor& t : all) t = t.to(type, false, /*copy=*/true).detach().requires_grad_();
    return all;
  }
  Norm norm_of(const std::vector<torch::Tensor>& leaves) const {
    const size_t first = residual.defined() ? 4 : 3;
    Norm n = norm;
    if (!n.weight.defined()) return n;
    n.weight = leaves[first], n.bias = leaves[first + 1];
    if (n.modulation.add.defined()) n.modulation.add = leaves[first + 2];
    return n;
  }
};

using Results = std::vector<torch::Tensor>;  // y, the shortcut, then the leaves' gradients

Results results(const Inputs& in, const torch::Tensor& y, const torch::Tensor& shortcut,
                const Results& leaves) {
  Results outputs{y}, gradients{in.dy.to(y.scalar_type())};
  if (shortcut.defined()) {
    outputs.push_back(shortcut);
    gradients.push_back(in.d_shortcut.to(shortcut.scalar_type()));
  }
  torch::autograd::backward(outputs, gradients);
  Results all;
  for (const torch::Tensor& output : outputs) all.push_back(output.detach());
  for (const torch::Tensor& leaf : leaves) all.push_back(leaf.grad());
  return all;
}

Results ours(const amx::ConvLoops& loops, const Inputs& in) {
  const Results leaves = in.leaves(torch::kFloat);
  const Norm norm = in.norm_of(leaves);
  FusedConvInputs inputs{.x = in.own(leaves[0]),
                         .weight = leaves[1],
                         .bias = leaves[2],
                         .norm = norm,
                         .residual = in.residual.defined() ? leaves[3] : torch::Tensor(),
                         .skip = in.skip(leaves[0])};
  if (in.shortcut_weight.defined())
    inputs.shortcut_weight = leaves[leaves.size() - 2], inputs.shortcut_bias = leaves.back();
  const FusedConvOutputs got = fused_conv3x3(loops, inputs);
  return results(in, got.y, got.shortcut, leaves);
}

// ATen in float64; what the norm hands to the convolution is rounded as ours is.
Results exact(const Inputs& in) {
  const Results leaves = in.leaves(torch::kDouble);
  const Norm n = in.norm_of(leaves);
  torch::Tensor h = leaves[0], shortcut;
  if (n.weight.defined()) {
    h = composed_group_norm(h, n.weight, n.bias, n.groups, n.eps, n.modulation, true);
    h = h + (h.to(torch::kBFloat16).to(torch::kDouble) - h).detach();
  }
  torch::Tensor y = at::conv2d(h, leaves[1], leaves[2], 1, 1);
  if (in.residual.defined()) y = y + leaves[3];
  if (in.shortcut_weight.defined())
    shortcut = at::conv2d(leaves[0], leaves[leaves.size() - 2], leaves.back());
  return results(in, y, shortcut, leaves);
}

double difference(const torch::Tensor& a, const torch::Tensor& b) {
  const torch::Tensor x = a.to(torch::kDouble), y = b.to(torch::kDouble);
  return ((x - y).abs().max() / y.abs().max()).item<double>();
}

void expect_exact(const amx::ConvLoops& loops, const Case& c) {
  const Inputs in(c);
  const Results got = ours(loops, in), expected = exact(in);
  ASSERT_EQ(got.size(), expected.size());
  EXPECT_EQ(got[0].scalar_type(), torch::kBFloat16);
  for (size_t i = 0; i < got.size(); ++i) {
    // y and the gradient of x are rounded to bfloat16 (the latter twice with a norm), those of
    // weight and bias are sums in float32; a norm's h may be the bfloat16 beside the exact one.
    const size_t first = c.shortcut ? 2 : 1;  // the gradient of x
    const bool sum = i == first + 1 || i == first + 2 || (c.shortcut && i + 2 >= got.size());
    const double limit = sum && !c.norm ? 2e-6 : (c.norm || c.shortcut ? 3 : 1) * kHalfUlp;
    EXPECT_LT(difference(got[i], expected[i]), limit) << c.name << ", result " << i;
  }
}

class FusedConvolution : public testing::TestWithParam<Case> {};

TEST_P(FusedConvolution, OfEachBodyEqualsAtenInFloat64) {
  for (const Body& body : runnable_bodies()) {
    SCOPED_TRACE(body.name);
    expect_exact(body.loops->convolution, GetParam());
  }
}

TEST_P(FusedConvolution, OfEachBodyGivesTheSameBitsAgainAndImagesDoNotDependOnThreads) {
  const Inputs in(GetParam());
  const int threads = at::get_num_threads();
  for (const Body& body : runnable_bodies()) {
    SCOPED_TRACE(body.name);
    std::vector<Results> all;
    for (const int n : {3, 3, 1}) {
      at::set_num_threads(n);
      all.push_back(ours(body.loops->convolution, in));
    }
    at::set_num_threads(threads);
    for (size_t i = 0; i < all[0].size(); ++i) {
      EXPECT_TRUE(all[0][i].equal(all[1][i])) << "result " << i;
      if (i < 2) {
        EXPECT_TRUE(all[0][i].equal(all[2][i])) << "result " << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, FusedConvolution,
    testing::Values(Case{"square", 4, 32, 32, 16, 16}, Case{"more_out", 3, 32, 96, 12, 12},
                    Case{"more_in", 2, 96, 32, 8, 8}, Case{"one_image", 1, 64, 32, 17, 16},
                    Case{"odd_sides", 5, 32, 64, 11, 13}, Case{"one_row", 3, 32, 32, 1, 50},
                    Case{"one_column", 3, 32, 32, 50, 1}, Case{"one_pixel", 7, 64, 64, 1, 1},
                    // Rows of 3 to 30 pixels: each number of rows that registers hold, and several.
                    Case{"width_3", 2, 32, 32, 4, 3}, Case{"width_6", 2, 32, 32, 3, 6},
                    Case{"width_10", 2, 32, 32, 3, 10}, Case{"width_14", 2, 32, 32, 3, 14},
                    Case{"width_15", 2, 64, 32, 5, 15}, Case{"width_30", 2, 32, 64, 5, 30},
                    Case{"plain_weight", 4, 64, 32, 8, 8, true, true, true, false},
                    Case{"norm_alone", 4, 32, 32, 8, 8, true, false, false},
                    Case{"convolution_alone", 5, 64, 32, 9, 8, false, false, false},
                    Case{"residual_alone", 2, 32, 64, 8, 9, false, true, false},
                    Case{"concatenated", 5, 96, 32, 8, 9, true, true, true, true, 32},
                    Case{"concatenated_few", 1, 64, 32, 8, 9, true, true, true, true, 40},
                    Case{"concatenated_alone", 3, 64, 32, 8, 9, false, false, false, true, 32},
                    Case{"shortcut", 4, 32, 64, 8, 9, true, false, true, true, 0, true},
                    Case{"shortcut_few", 1, 64, 32, 9, 8, true, true, true, true, 0, true},
                    Case{"shortcut_alone", 3, 64, 32, 8, 9, false, false, false, true, 0, true},
                    Case{"everything", 5, 96, 64, 7, 7, true, true, true, true, 40, true}),
    [](const auto& info) { return info.param.name; });

TEST(FusedConvolutionInputs, UnderAutocastTheConvolutionIsOursIfThereIsABody) {
  const torch::Tensor x = normal({2, 32, 8, 8}, 0).contiguous(kLast).requires_grad_();
  const torch::Tensor weight = normal({32, 32, 3, 3}, 1), bias = normal({32}, 2);
  EXPECT_FALSE(can_fuse_conv3x3(x, weight, bias)) << "float32 stays float32";
  at::autocast::set_autocast_enabled(torch::kCPU, true);
  at::autocast::set_autocast_dtype(torch::kCPU, torch::kBFloat16);
  EXPECT_EQ(can_fuse_conv3x3(x, weight, bias), amx::tile_loops() != nullptr);
  EXPECT_FALSE(can_fuse_conv3x3(x, normal({40, 32, 3, 3}, 1), normal({40}, 2)));
  const torch::Tensor y = conv3x3(x, weight, bias);
  at::autocast::set_autocast_enabled(torch::kCPU, false);
  EXPECT_EQ(y.scalar_type(), torch::kBFloat16);
  EXPECT_EQ(y.grad_fn()->name().find("FusedConvolution") != std::string::npos,
            amx::tile_loops() != nullptr);
}

// Both libraries set the shapes of the tiles; neither may see the other's.
TEST(FusedConvolutionInputs, LeavesOneDnnsTilesAsTheyWere) {
  if (supported_cpu_isa() != CpuIsa::kAmx) GTEST_SKIP() << "this processor has no Intel AMX";
  const torch::Tensor x = normal({2, 32, 8, 8}, 0).contiguous(kLast).to(torch::kBFloat16);
  const torch::Tensor weight = normal({48, 32, 3, 3}, 1).to(torch::kBFloat16);
  const torch::Tensor before = at::conv2d(x, weight, {}, 1, 1);
  for (int i = 0; i < 3; ++i) {
    fused_conv3x3(amx::tile_loops_amx()->convolution,
                  {.x = x, .weight = normal({32, 32, 3, 3}, 1), .bias = normal({32}, 2)});
    EXPECT_TRUE(at::conv2d(x, weight, {}, 1, 1).equal(before));
  }
}

TEST(FusedConvolutionInputs, OneBadNumberReachesItsNeighboursAlone) {
  torch::Tensor x = torch::ones({1, 32, 20, 20}).contiguous(kLast);
  x[0][5][10][19] = std::nanf("");
  for (const Body& body : runnable_bodies()) {
    SCOPED_TRACE(body.name);
    const torch::Tensor y =
        fused_conv3x3(body.loops->convolution,
                      {.x = x, .weight = torch::ones({32, 32, 3, 3}), .bias = torch::zeros({32})})
            .y;
    EXPECT_TRUE(y.slice(2, 9, 12).slice(3, 18, 20).isnan().all().item<bool>());
    EXPECT_EQ(y.isnan().sum().item<int64_t>(), 32 * 3 * 2);
  }
}

}  // namespace
}  // namespace ddpm::kernels::fused_convolution_test
