#include "ddpm/sample/restore.h"

#include <cmath>
#include <utility>

#include <torch/types.h>

namespace ddpm::sample {

InpaintSampler::InpaintSampler(std::unique_ptr<Sampler> inner, const diffusion::Schedule& schedule,
                               const torch::Tensor& known, const torch::Tensor& unknown,
                               int64_t rounds)
    : inner_(std::move(inner)),
      schedule_(schedule),
      known_(known),
      unknown_(unknown.to(known.scalar_type())),
      rounds_(rounds) {
  TORCH_CHECK(rounds >= 1, "inpainting needs one round or more");
}

torch::Tensor InpaintSampler::step(const PlanStep& step, const torch::Tensor& x_t,
                                   const Estimator& estimate, const StepNoise& noise) {
  int64_t draws = 0;
  const StepNoise next = [&](int64_t) { return noise(draws++); };
  const double signal = std::sqrt(schedule_.alpha_bar(step.s));
  const double spread = std::sqrt(schedule_.one_minus_alpha_bar(step.s));
  const int64_t rounds = step.s == 0 ? 1 : rounds_;
  torch::Tensor x = x_t, x_s;
  for (int64_t round = 0; round < rounds; ++round) {
    x_s = inner_->step(step, x, estimate, next);
    const torch::Tensor known =
        step.s == 0 ? known_ : signal * known_.to(x_s.scalar_type()) + spread * next(0);
    x_s = torch::where(unknown_ > 0.5, x_s, known.to(x_s.scalar_type()));
    if (round + 1 == rounds) break;
    const double beta = schedule_.jump_beta(step.t, step.s);
    const double ratio = schedule_.alpha_bar(step.t) / schedule_.alpha_bar(step.s);
    x = std::sqrt(ratio) * x_s + std::sqrt(beta) * next(0);
  }
  return x_s;
}

}  // namespace ddpm::sample
