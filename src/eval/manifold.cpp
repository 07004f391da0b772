#include "ddpm/eval/manifold.h"

#include "leave_out.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include <torch/utils.h>

namespace ddpm::eval {
namespace {

constexpr int64_t kRows = 1024;      // of a distance matrix in memory
constexpr int64_t kColumns = 16384;  // the same, in a search

// Squared distances [rows of x, rows of y], float64.
torch::Tensor squared_distances(const torch::Tensor& x, const torch::Tensor& y) {
  const torch::Tensor a = x.to(torch::kDouble), b = y.to(torch::kDouble);
  const torch::Tensor square = a.square().sum(1, true) + b.square().sum(1);
  return torch::addmm(square, a, b.t(), 1.0, -2.0).clamp_min_(0.0);
}

// Calls visit(first row, squared distances [b,N]) block by block of the rows of x.
void visit_distances(const torch::Tensor& x, const torch::Tensor& y,
                     const std::function<void(int64_t, const torch::Tensor&)>& visit) {
  for (int64_t first = 0; first < x.size(0); first += kRows)
    visit(first, squared_distances(x.slice(0, first, first + kRows), y));
}

// Computed from the vectors themselves, as squared_distances is imprecise if small. [Q,k].
torch::Tensor exact_distances(const torch::Tensor& queries, const torch::Tensor& among,
                              const torch::Tensor& indices) {
  const torch::Tensor found = among.index_select(0, indices.flatten()).to(torch::kDouble);
  return (queries.to(torch::kDouble).unsqueeze(1) -
          found.view({indices.size(0), indices.size(1), -1}))
      .norm(2, 2);
}

// The k nearest of `among` to a block of queries. own: the row of each query itself, or undefined.
torch::Tensor nearest_indices(const torch::Tensor& queries, const torch::Tensor& among, int64_t k,
                              const torch::Tensor& own) {
  torch::Tensor best, indices;
  for (int64_t first = 0; first < among.size(0); first += kColumns) {
    const torch::Tensor d = squared_distances(queries, among.slice(0, first, first + kColumns));
    if (own.defined()) {
      const torch::Tensor column = torch::arange(first, first + d.size(1), own.options());
      d.masked_fill_(own.unsqueeze(1) == column, std::numeric_limits<double>::infinity());
    }
    const auto [values, where] = d.topk(std::min(k, d.size(1)), 1, /*largest=*/false);
    const torch::Tensor all = best.defined() ? torch::cat({best, values}, 1) : values;
    const torch::Tensor of = indices.defined() ? torch::cat({indices, where + first}, 1) : where;
    const auto [kept, place] = all.topk(std::min(k, all.size(1)), 1, /*largest=*/false);
    best = kept;
    indices = of.gather(1, place);
  }
  return indices;
}

Neighbours search(const torch::Tensor& queries, const torch::Tensor& among, int64_t k,
                  const torch::Tensor& own) {
  std::vector<torch::Tensor> distances, indices;
  for (int64_t first = 0; first < queries.size(0); first += kRows) {
    const torch::Tensor block = queries.slice(0, first, first + kRows);
    const torch::Tensor rows = own.defined() ? own.slice(0, first, first + kRows) : torch::Tensor();
    indices.push_back(nearest_indices(block, among, k, rows));
    distances.push_back(exact_distances(block, among, indices.back()));
  }
  return {torch::cat(distances), torch::cat(indices)};
}

// For each row of x, the number of balls around rows of y that hold it: int64 [rows of x].
torch::Tensor balls_around(const torch::Tensor& x, const torch::Tensor& y,
                           const torch::Tensor& radii) {
  std::vector<torch::Tensor> counts;
  const torch::Tensor limit = radii.square();
  visit_distances(x, y,
                  [&](int64_t, const torch::Tensor& d) { counts.push_back((d < limit).sum(1)); });
  return torch::cat(counts);
}

// The fraction of real vectors in any ball of a generated one.
Measured recall_of(const torch::Tensor& real, const torch::Tensor& generated,
                   const torch::Tensor& groups, int64_t count, int64_t k) {
  std::vector<torch::Tensor> blocks;
  visit_distances(generated, generated, [&](int64_t first, const torch::Tensor& d) {
    d.diagonal(first).fill_(std::numeric_limits<double>::infinity());
    blocks.push_back(limits_without_groups(d, groups, count, k));
  });
  const torch::Tensor limits = torch::cat(blocks, 1);
  ShareWithoutGroups share(groups, count);
  visit_distances(real, generated, [&](int64_t, const torch::Tensor& d) {
    share.add([&](int64_t left_out) { return d < limits[left_out]; });
  });
  Measured recall = share.measured();
  const std::vector<int64_t> sizes = group_sizes(groups, count);
  const int64_t fewest = generated.size(0) - *std::max_element(sizes.begin(), sizes.end());
  if (fewest <= k) recall.error = std::numeric_limits<double>::quiet_NaN();  // no k-th neighbour
  return recall;
}

// The fraction of real balls that hold a generated vector.
Measured coverage_of(const torch::Tensor& real, const torch::Tensor& generated,
                     const torch::Tensor& radii, const torch::Tensor& groups, int64_t count) {
  const torch::Tensor limit = radii.square();
  ShareWithoutGroups share(groups, count);
  visit_distances(real, generated, [&](int64_t first, const torch::Tensor& d) {
    const torch::Tensor inside = d < limit.slice(0, first, first + d.size(0)).unsqueeze(1);
    share.add([&](int64_t) { return inside; });
  });
  // The jackknife counts the variance of a joint effect of k samples k times (Efron and Stein
  // 1981). A ball may hold several samples, and one is enough, so much of it is counted twice or
  // more.
  Measured coverage = share.measured();
  coverage.error /= std::sqrt(2.0);
  return coverage;
}

}  // namespace

Neighbours nearest(const torch::Tensor& queries, const torch::Tensor& among, int64_t k) {
  TORCH_CHECK(k >= 1 && k <= among.size(0), "there are no ", k, " neighbours");
  return search(queries, among, k, {});
}

Neighbours nearest_others(const torch::Tensor& x, const torch::Tensor& rows, int64_t k) {
  TORCH_CHECK(k >= 1 && k < x.size(0), "a set of ", x.size(0), " has no neighbour number ", k);
  return search(x.index_select(0, rows), x, k, rows);
}

torch::Tensor neighbour_radii(const torch::Tensor& x, int64_t k) {
  TORCH_CHECK(k >= 1 && k < x.size(0), "a set of ", x.size(0), " has no neighbour number ", k);
  std::vector<torch::Tensor> radii;
  visit_distances(x, x, [&](int64_t first, const torch::Tensor& d) {
    d.diagonal(first).zero_();  // the vector itself, exactly 0: always the nearest
    radii.push_back(std::get<0>(d.kthvalue(k + 1, 1)).sqrt());
  });
  return torch::cat(radii);
}

ManifoldScores manifold_scores(const torch::Tensor& real, const torch::Tensor& generated,
                               const torch::Tensor& groups, int64_t count,
                               const ManifoldOptions& options) {
  ManifoldScores s;
  const torch::Tensor real_balls = neighbour_radii(real, options.k_precision);
  s.precision = grouped_mean(balls_around(generated, real, real_balls) > 0, groups, count);
  s.recall = recall_of(real, generated, groups, count, options.k_precision);

  const torch::Tensor dense_balls = neighbour_radii(real, options.k_density);
  const auto k = static_cast<double>(options.k_density);
  s.density = grouped_mean(balls_around(generated, real, dense_balls).to(torch::kDouble) / k,
                           groups, count);
  s.coverage = coverage_of(real, generated, dense_balls, groups, count);
  return s;
}

Measured authenticity(const torch::Tensor& real, const torch::Tensor& generated,
                      const torch::Tensor& groups, int64_t count) {
  const Neighbours found = nearest(generated, real, 1);
  const torch::Tensor radii = nearest_others(real, found.indices.squeeze(1), 1).distances;
  return grouped_mean((found.distances > radii).squeeze(1), groups, count);
}

}  // namespace ddpm::eval
