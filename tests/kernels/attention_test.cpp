#include "ddpm/kernels/attention.h"

#include "src/kernels/fused_attention.h"
#include "tests/base/test_purpose.h"
#include "tests/kernels/bodies.h"
#include "tests/kernels/normal.h"

#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <torch/types.h>

namespace ddpm::kernels::attention_test {
namespace {

const RngKey kKey = rng_key(2017, kTestPurpose);

torch::Tensor normal(at::IntArrayRef shape, int64_t id) {
  return normal_row(kKey, shape, id).to(torch::kBFloat16);
}

// softmax(q k' / sqrt(D)) v, written out.
torch::Tensor exact(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                    int64_t heads) {
  const auto split = [&](const torch::Tensor& t) {
    return t.view({t.size(0), t.size(1), heads, t.size(2) / heads}).transpose(1, 2);
  };
  const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(2) / heads));
  const torch::Tensor weights =
      torch::softmax(at::matmul(split(q), split(k).transpose(2, 3)) * scale, 3);
  return at::matmul(weights, split(v)).transpose(1, 2).reshape(q.sizes());
}

struct Case {
  std::string name;
  int64_t batch, tokens, heads, channels;
  double size = 1.0;  // of queries and keys
};

using Results = std::vector<torch::Tensor>;  // y, dq, dk, dv

template <class Attention>
Results run(const Case& c, torch::Dtype type, const Attention& attention) {
  Results leaves;
  for (int64_t i = 0; i < 3; ++i) {
    const torch::Tensor t = normal({c.batch, c.tokens, c.heads * c.channels}, i);
    leaves.push_back((i < 2 ? t * c.size : t).to(type).detach().requires_grad_());
  }
  const torch::Tensor y = attention(leaves[0], leaves[1], leaves[2]);
  y.backward(normal({c.batch, c.tokens, c.heads * c.channels}, 3).to(type));
  return {y.detach(), leaves[0].grad(), leaves[1].grad(), leaves[2].grad()};
}

double difference(const torch::Tensor& a, const torch::Tensor& b) {
  const torch::Tensor x = a.to(torch::kDouble), y = b.to(torch::kDouble);
  return ((x - y).norm() / y.norm()).item<double>();
}

class Attention : public testing::TestWithParam<Case> {};

// Weights and results are rounded to bfloat16 (2^-9 on average, less for sums of many); so are the
// gradients of the scores, which are small differences.
void expect_exact(const amx::AttentionLoops& loops, const Case& c) {
  const Results ours = run(c, torch::kBFloat16, [&](const auto& q, const auto& k, const auto& v) {
    return fused_attention(loops, torch::cat({q, k, v}, 2), c.heads);
  });
  const Results expected = run(c, torch::kDouble, [&](const auto& q, const auto& k, const auto& v) {
    return exact(q, k, v, c.heads);
  });
  for (size_t i = 0; i < ours.size(); ++i)
    EXPECT_LT(difference(ours[i], expected[i]), 0.01) << c.name << ", result " << i;
}

TEST_P(Attention, OfEachBodyEqualsTheFormulaInFloat64) {
  for (const Body& body : runnable_bodies()) {
    if (!body.loops->attention.forward) continue;
    SCOPED_TRACE(body.name);
    expect_exact(body.loops->attention, GetParam());
  }
}

TEST_P(Attention, InFloat64IsTheFormula) {
  const Case c = GetParam();
  const Results ours = run(c, torch::kDouble, [&](const auto& q, const auto& k, const auto& v) {
    return attention(torch::cat({q, k, v}, 2), c.heads);
  });
  const Results expected = run(c, torch::kDouble, [&](const auto& q, const auto& k, const auto& v) {
    return exact(q, k, v, c.heads);
  });
  for (size_t i = 0; i < ours.size(); ++i)
    EXPECT_LT(difference(ours[i], expected[i]), 1e-12) << "result " << i;
}

INSTANTIATE_TEST_SUITE_P(
    All, Attention,
    testing::Values(Case{"one_block", 2, 32, 1, 32}, Case{"tokens", 1, 160, 1, 64},
                    Case{"channels", 3, 64, 1, 96}, Case{"heads", 2, 64, 4, 32},
                    Case{"sharp", 2, 64, 1, 32, 5.0}, Case{"flat", 2, 64, 1, 32, 0.01}),
    [](const auto& info) { return info.param.name; });

// Scores of +-1000: no overflow, and one key takes all.
TEST(AttentionInputs, HugeScoresDoNotOverflow) {
  const torch::Tensor q = normal({1, 32, 32}, 0) * 200, k = normal({1, 32, 32}, 1);
  const torch::Tensor v = normal({1, 32, 32}, 2);
  const auto exactly = [](const torch::Tensor& t) { return t.to(torch::kDouble); };
  const torch::Tensor expected = exact(exactly(q), exactly(k), exactly(v), 1);
  for (const Body& body : runnable_bodies()) {
    if (!body.loops->attention.forward) continue;
    const torch::Tensor y = fused_attention(body.loops->attention, torch::cat({q, k, v}, 2), 1);
    EXPECT_LT(difference(y, expected), 0.01) << body.name;
  }
}

TEST(AttentionInputs, OtherSizesAreAtens) {
  const torch::Tensor q = normal({2, 30, 48}, 0), k = normal({2, 30, 48}, 1),
                      v = normal({2, 30, 48}, 2);
  const auto split = [](const torch::Tensor& t) { return t.view({2, 30, 3, 16}).transpose(1, 2); };
  const torch::Tensor expected = at::scaled_dot_product_attention(split(q), split(k), split(v))
                                     .transpose(1, 2)
                                     .reshape(q.sizes());
  const torch::Tensor qkv = torch::cat({q, k, v}, 2);
  EXPECT_LT(difference(attention(qkv, 3), expected), 0.01);
  EXPECT_THROW(attention(qkv, 5), c10::Error);
  EXPECT_THROW(attention(qkv.narrow(2, 0, 143), 3), c10::Error);
}

}  // namespace
}  // namespace ddpm::kernels::attention_test
