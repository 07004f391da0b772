#include "ddpm/eval/frechet.h"

#include <utility>

#include <fmt/format.h>

namespace ddpm::eval {

Moments::Moments(int64_t dimension)
    : mean_(torch::zeros({dimension}, torch::kDouble)),
      scatter_(torch::zeros({dimension, dimension}, torch::kDouble)) {}

void Moments::merge(int64_t count, const torch::Tensor& mean, const torch::Tensor& scatter) {
  if (count == 0) return;
  if (count_ == 0) {
    count_ = count;
    mean_ = mean.clone();
    scatter_ = scatter.clone();
    return;
  }
  const auto a = static_cast<double>(count_), b = static_cast<double>(count);
  const torch::Tensor shift = mean - mean_;
  scatter_.add_(scatter).addr_(shift, shift, 1.0, a * b / (a + b));
  mean_.add_(shift, b / (a + b));
  count_ += count;
}

void Moments::add(const torch::Tensor& features) {
  if (features.size(0) == 0) return;
  const torch::Tensor x = features.to(torch::kDouble);
  const torch::Tensor mean = x.mean(0);
  const torch::Tensor centred = x - mean;
  merge(x.size(0), mean, centred.t().matmul(centred));
}

void Moments::merge(const Moments& other) { merge(other.count_, other.mean_, other.scatter_); }

Gaussian Moments::gaussian() const {
  TORCH_CHECK(count_ >= 2, "a covariance needs two vectors, there are ", count_);
  return {count_, mean_.cpu(), scatter_.cpu() / static_cast<double>(count_ - 1)};
}

void Moments::all_reduce_(std::vector<Moments>& moments, const dist::World& world,
                          const torch::Device& device) {
  if (world.size() == 1) return;
  for (Moments& m : moments) {
    const auto own = static_cast<double>(m.count_);
    torch::Tensor total = torch::full({1}, own, torch::dtype(torch::kDouble).device(device));
    torch::Tensor mean = m.mean_.to(device, torch::kDouble, /*non_blocking=*/false, /*copy=*/true);
    mean.mul_(own);
    world.all_reduce_sum_({total, mean});
    const auto count = static_cast<int64_t>(total.item<double>());
    if (count > 0) mean.div_(total);
    // Each rank's scatter around the common mean: these can be added.
    const torch::Tensor shift = m.mean_.to(device) - mean;
    torch::Tensor scatter =
        m.scatter_.to(device, torch::kDouble, /*non_blocking=*/false, /*copy=*/true);
    scatter.addr_(shift, shift, 1.0, own);
    world.all_reduce_sum_({scatter});
    m.count_ = count;
    m.mean_ = mean;
    m.scatter_ = scatter;
  }
}

Moments merged(const std::vector<Moments>& moments) {
  Moments all;
  for (const Moments& m : moments) all.merge(m);
  return all;
}

}  // namespace ddpm::eval
