#include "inception_score.h"

#include <vector>

#include <torch/utils.h>

namespace ddpm::eval {
namespace {

torch::Tensor negative_entropy(const torch::Tensor& p) { return torch::xlogy(p, p).sum(-1); }

// exp of the mean divergence of `samples` samples, from their sums of p and of p log p: [...].
torch::Tensor score_of(const torch::Tensor& p, const torch::Tensor& p_log_p,
                       const torch::Tensor& samples) {
  return (p_log_p / samples - negative_entropy(p / samples.unsqueeze(-1))).exp();
}

}  // namespace

Measured inception_score(const torch::Tensor& logits, const torch::Tensor& groups, int64_t count,
                         int64_t splits) {
  const int64_t n = logits.size(0);
  TORCH_CHECK(splits >= 1 && n >= splits, "inception_score needs a row for each split");
  const auto share = 1.0 / static_cast<double>(splits);
  torch::Tensor value = torch::zeros({}, torch::kDouble);
  torch::Tensor without = torch::zeros({count}, torch::kDouble);
  for (int64_t i = 0; i < splits; ++i) {
    const int64_t begin = i * n / splits, end = (i + 1) * n / splits;
    const torch::Tensor p = torch::softmax(logits.slice(0, begin, end).to(torch::kDouble), 1);
    const torch::Tensor member =
        torch::one_hot(groups.slice(0, begin, end), count).to(torch::kDouble);
    // Sums per group: p [G,K], p log p [G], samples [G].
    const torch::Tensor sums = member.t().matmul(p);
    const torch::Tensor p_log_p = member.t().matmul(negative_entropy(p));
    const torch::Tensor samples = member.sum(0);
    value += share * score_of(sums.sum(0), p_log_p.sum(), samples.sum());
    without +=
        share * score_of(sums.sum(0) - sums, p_log_p.sum() - p_log_p, samples.sum() - samples);
  }
  const std::vector<double> left(without.const_data_ptr<double>(),
                                 without.const_data_ptr<double>() + count);
  return {value.item<double>(),
          jackknife_error(value.item<double>(), left, group_sizes(groups, count))};
}

}  // namespace ddpm::eval
