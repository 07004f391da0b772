#include "ddpm/sample/trajectory.h"

#include "ddpm/diffusion/image_range.h"
#include "ddpm/io/image.h"

#include <algorithm>

#include <torch/types.h>

namespace ddpm::sample {

Trajectory::Trajectory(const std::vector<PlanStep>& plan, int64_t rows, int64_t columns)
    : rows_(rows) {
  TORCH_CHECK(!plan.empty() && rows > 0 && columns > 0, "a trajectory needs steps, rows, columns");
  const auto steps = static_cast<int64_t>(plan.size());
  columns = std::min(columns, steps);
  for (int64_t k = 1; k <= columns; ++k) {
    positions_.push_back(k * steps / columns - 1);
    times_.push_back(plan[positions_.back()].t);
  }
  estimates_.resize(positions_.size());
}

void Trajectory::observe(int64_t first, const TrajectoryPoint& point) {
  if (first >= rows_) return;
  const auto column = std::find(positions_.begin(), positions_.end(), point.position);
  if (column == positions_.end()) return;
  const int64_t count = std::min(rows_ - first, point.x0_hat.size(0));
  estimates_[column - positions_.begin()].push_back(
      diffusion::to_uint8(point.x0_hat.narrow(0, 0, count)).cpu());
}

torch::Tensor Trajectory::cells() const {
  const size_t complete = estimates_.back().size();  // a batch cut short has no last column
  TORCH_CHECK(complete > 0, "no image was finished");
  std::vector<torch::Tensor> columns;
  for (const std::vector<torch::Tensor>& batches : estimates_) {
    const auto end = batches.begin() + static_cast<std::ptrdiff_t>(complete);
    columns.push_back(torch::cat(std::vector<torch::Tensor>(batches.begin(), end)));
  }
  return torch::stack(columns, 1).flatten(0, 1);
}

torch::Tensor Trajectory::frames(int64_t columns) const {
  const torch::Tensor all = cells();
  const torch::Tensor by_row = all.unflatten(0, {-1, std::ssize(times_)});  // [rows,K,C,H,W]
  std::vector<torch::Tensor> frames;
  for (const torch::Tensor& images : by_row.unbind(1))
    frames.push_back(io::enlarged(io::make_grid(images, columns)));
  return torch::stack(frames);
}

torch::Tensor Trajectory::picture() const {
  return io::enlarged(io::make_grid(cells(), std::ssize(times_)));
}

}  // namespace ddpm::sample
