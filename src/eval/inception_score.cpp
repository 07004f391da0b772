#include "ddpm/eval/inception_score.h"

#include <cmath>
#include <vector>

namespace ddpm::eval {

Measured inception_score(const torch::Tensor& logits, int64_t splits) {
  const int64_t n = logits.size(0);
  TORCH_CHECK(splits >= 1 && n >= splits, "inception_score needs a row a split");
  std::vector<double> scores;
  for (int64_t i = 0; i < splits; ++i) {
    const torch::Tensor part = logits.slice(0, i * n / splits, (i + 1) * n / splits);
    const torch::Tensor log_p = torch::log_softmax(part.to(torch::kDouble), 1);
    const torch::Tensor p = log_p.exp();
    const torch::Tensor divergence = (p * (log_p - p.mean(0, true).log())).nan_to_num_(0.0).sum(1);
    scores.push_back(std::exp(divergence.mean().item<double>()));
  }
  const torch::Tensor all = torch::tensor(scores, torch::kDouble);
  return {all.mean().item<double>(), all.std(/*unbiased=*/false).item<double>()};
}

}  // namespace ddpm::eval
