#include "ddpm/eval/manifold.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include <torch/utils.h>

namespace ddpm::eval {
namespace {

constexpr int64_t kBlock = 1024;  // rows of a distance matrix held at a time

// Calls visit(first row, squared distances [b,N]) block by block of the rows of x.
void visit_distances(const torch::Tensor& x, const torch::Tensor& y,
                     const std::function<void(int64_t, const torch::Tensor&)>& visit) {
  const torch::Tensor b = y.to(torch::kDouble);
  const torch::Tensor b_square = b.square().sum(1);
  for (int64_t first = 0; first < x.size(0); first += kBlock) {
    const torch::Tensor a = x.slice(0, first, first + kBlock).to(torch::kDouble);
    const torch::Tensor square = a.square().sum(1, true) + b_square;
    visit(first, torch::addmm(square, a, b.t(), 1.0, -2.0).clamp_min_(0.0));
  }
}

Measured mean_of(const torch::Tensor& values) {
  const torch::Tensor x = values.to(torch::kDouble);
  const auto n = static_cast<double>(x.numel());
  return {x.mean().item<double>(), x.std(/*unbiased=*/false).item<double>() / std::sqrt(n)};
}

// Each row of x: how many balls around the rows of y hold it. int64 [rows of x].
torch::Tensor balls_around(const torch::Tensor& x, const torch::Tensor& y,
                           const torch::Tensor& radii) {
  std::vector<torch::Tensor> counts;
  const torch::Tensor limit = radii.square();
  visit_distances(x, y,
                  [&](int64_t, const torch::Tensor& d) { counts.push_back((d < limit).sum(1)); });
  return torch::cat(counts);
}

}  // namespace

Neighbours nearest(const torch::Tensor& queries, const torch::Tensor& among, int64_t k) {
  TORCH_CHECK(k >= 1 && k <= among.size(0), "there are no ", k, " neighbours");
  std::vector<torch::Tensor> distances, indices;
  visit_distances(queries, among, [&](int64_t, const torch::Tensor& d) {
    const auto [values, where] = d.topk(k, 1, /*largest=*/false, /*sorted=*/true);
    distances.push_back(values.sqrt());
    indices.push_back(where);
  });
  return {torch::cat(distances), torch::cat(indices)};
}

torch::Tensor neighbour_radii(const torch::Tensor& x, int64_t k) {
  TORCH_CHECK(k >= 1 && k < x.size(0), "a set of ", x.size(0), " has no neighbour number ", k);
  std::vector<torch::Tensor> radii;
  visit_distances(x, x, [&](int64_t first, const torch::Tensor& d) {
    d.diagonal(first).zero_();  // itself, exactly: always the nearest
    radii.push_back(std::get<0>(d.kthvalue(k + 1, 1)).sqrt());
  });
  return torch::cat(radii);
}

ManifoldScores manifold_scores(const torch::Tensor& real, const torch::Tensor& generated,
                               const ManifoldOptions& options) {
  ManifoldScores s;
  const torch::Tensor real_balls = neighbour_radii(real, options.k_precision);
  const torch::Tensor generated_balls = neighbour_radii(generated, options.k_precision);
  s.precision = mean_of(balls_around(generated, real, real_balls) > 0);
  s.recall = mean_of(balls_around(real, generated, generated_balls) > 0);

  const torch::Tensor dense_balls = neighbour_radii(real, options.k_density);
  const auto k = static_cast<double>(options.k_density);
  s.density = mean_of(balls_around(generated, real, dense_balls).to(torch::kDouble) / k);
  s.coverage = mean_of(nearest(real, generated, 1).distances.squeeze(1) < dense_balls);
  return s;
}

}  // namespace ddpm::eval
