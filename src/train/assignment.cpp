#include "assignment.h"

#include "ddpm/base/shape.h"

#include <limits>

namespace ddpm::train {
namespace {

constexpr double kFar = std::numeric_limits<double>::infinity();

// The dual problem: reduced costs cost[i][j] - row_price[i] - column_price[j] are never negative,
// and 0 for an assigned pair. That proves the assignment the best one.
class Assignment {
 public:
  explicit Assignment(const torch::Tensor& cost)
      : cost_(cost.contiguous()),
        count_(cost.size(0)),
        row_price_(count_, 0.0),
        column_price_(count_, 0.0),
        row_of_(count_, -1) {}

  // Assigns `row`, and others anew where that is cheaper.
  void add(int64_t row) {
    std::vector<double> distance(count_, kFar);  // of each column from `row`, by reduced costs
    std::vector<int64_t> before(count_, -1);  // the column before it on the shortest path; -1: none
    std::vector<bool> settled(count_, false);
    double reached = 0.0;
    int64_t at = -1;  // the column settled last; -1: `row` itself
    int64_t tail = row;
    do {
      relax(tail, at, reached, settled, distance, before);
      at = nearest(settled, distance);
      reached = distance[at];
      settled[at] = true;
      tail = row_of_[at];
    } while (tail >= 0);
    update_prices(row, reached, settled, distance);
    for (int64_t column = at; column >= 0; column = before[column])
      row_of_[column] = before[column] >= 0 ? row_of_[before[column]] : row;
  }

  std::vector<int64_t> columns() const {
    std::vector<int64_t> column_of(count_);
    for (int64_t j = 0; j < count_; ++j) column_of[row_of_[j]] = j;
    return column_of;
  }

 private:
  // The paths that go on from row `tail`, which column `at` leads to, `reached` away.
  void relax(int64_t tail, int64_t at, double reached, const std::vector<bool>& settled,
             std::vector<double>& distance, std::vector<int64_t>& before) const {
    const double* costs = cost_.const_data_ptr<double>() + tail * count_;
    for (int64_t j = 0; j < count_; ++j) {
      const double length = reached + costs[j] - row_price_[tail] - column_price_[j];
      if (settled[j] || length >= distance[j]) continue;
      distance[j] = length;
      before[j] = at;
    }
  }

  // Of equally near columns a free one, which ends the path, then the first.
  int64_t nearest(const std::vector<bool>& settled, const std::vector<double>& distance) const {
    int64_t best = -1;
    for (int64_t j = 0; j < count_; ++j) {
      if (settled[j]) continue;
      const bool ends =
          best >= 0 && distance[j] == distance[best] && row_of_[j] < 0 && row_of_[best] >= 0;
      if (best < 0 || distance[j] < distance[best] || ends) best = j;
    }
    return best;
  }

  // Before the columns of the path change their rows.
  void update_prices(int64_t row, double reached, const std::vector<bool>& settled,
                     const std::vector<double>& distance) {
    row_price_[row] += reached;
    for (int64_t j = 0; j < count_; ++j) {
      if (!settled[j]) continue;
      column_price_[j] -= reached - distance[j];
      if (row_of_[j] >= 0) row_price_[row_of_[j]] += reached - distance[j];
    }
  }

  torch::Tensor cost_;
  int64_t count_;
  std::vector<double> row_price_, column_price_;
  std::vector<int64_t> row_of_;  // of each column; -1: free
};

}  // namespace

std::vector<int64_t> best_assignment(const torch::Tensor& cost) {
  expect_shape(cost, {cost.size(0), cost.size(0)}, "cost");
  TORCH_CHECK(cost.is_cpu() && cost.scalar_type() == torch::kDouble, "costs are host numbers");
  TORCH_CHECK(torch::isfinite(cost).all().item<bool>(), "a cost is not finite");
  Assignment assignment(cost);
  for (int64_t row = 0; row < cost.size(0); ++row) assignment.add(row);
  return assignment.columns();
}

}  // namespace ddpm::train
