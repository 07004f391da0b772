#include "ddpm/diffusion/guidance.h"

#include <utility>

#include <torch/types.h>

namespace ddpm::diffusion {

Denoiser score_guided(Denoiser inner, const Diffusion& diffusion, Score score, double scale) {
  return [inner = std::move(inner), diffusion, score = std::move(score), scale](
             const torch::Tensor& x_t, const torch::Tensor& t) {
    const torch::Tensor output = inner(x_t, t);
    if (scale == 0.0) return output;
    const torch::Tensor mean = output.narrow(1, 0, x_t.size(1)).to(x_t.scalar_type());
    const Schedule& schedule = diffusion.schedule();
    const torch::Tensor signal = schedule.gather(Table::kSqrtAlphaBar, t, x_t);
    const torch::Tensor noise = schedule.gather(Table::kSqrtOneMinusAlphaBar, t, x_t);
    const torch::Tensor pull = scale * score(x_t, t).to(x_t.scalar_type());
    const Estimate found = diffusion.estimate(mean, x_t, t);
    const Estimate moved{found.x0 + noise.square() / signal * pull, found.eps - noise * pull};
    const torch::Tensor guided =
        torch::where(signal > 0, diffusion.target(moved.x0, moved.eps, x_t, t), mean);
    return with_mean(output, guided);
  };
}

}  // namespace ddpm::diffusion
