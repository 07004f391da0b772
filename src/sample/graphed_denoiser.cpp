#include "graphed_denoiser.h"

namespace ddpm::sample {

torch::Tensor GraphedDenoiser::operator()(const torch::Tensor& x_t, const torch::Tensor& t) {
  const bool other_shape = x_.defined() && x_.sizes() != x_t.sizes();
  if (!graph_.can_record() || other_shape) return denoiser_(x_t, t);
  if (!x_.defined()) {
    x_ = torch::empty_like(x_t);
    t_ = torch::empty_like(t);
  }
  x_.copy_(x_t);
  t_.copy_(t);
  graph_.run([this] { output_ = denoiser_(x_, t_); });
  return output_.clone();  // the next replay overwrites it
}

}  // namespace ddpm::sample
