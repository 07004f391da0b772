#include "ddpm/sample/latent.h"

#include <algorithm>
#include <cmath>

#include <torch/types.h>

namespace ddpm::sample {

torch::Tensor encode(const diffusion::Denoiser& denoiser, const diffusion::Diffusion& diffusion,
                     const SampleConfig& config, const torch::Tensor& x0) {
  const torch::NoGradGuard no_grad;
  const diffusion::Schedule& schedule = diffusion.schedule();
  std::vector<PlanStep> plan = timestep_plan(schedule, config);
  std::reverse(plan.begin(), plan.end());
  const torch::Tensor t =
      torch::empty({x0.size(0)}, torch::dtype(torch::kInt64).device(x0.device()));
  torch::Tensor x = x0;
  for (const PlanStep& step : plan) {
    const int64_t from = std::max<int64_t>(step.s, 1);  // no network knows t = 0
    t.fill_(from);
    const diffusion::Estimate at_s = diffusion.estimate(denoiser(x, t), x, from);
    x = std::sqrt(schedule.alpha_bar(step.t)) * at_s.x0 +
        std::sqrt(schedule.one_minus_alpha_bar(step.t)) * at_s.eps;
  }
  return x;
}

torch::Tensor slerp(const torch::Tensor& a, const torch::Tensor& b, double share) {
  const torch::Tensor x = a.flatten(1).to(torch::kDouble), y = b.flatten(1).to(torch::kDouble);
  const torch::Tensor cosine = (x * y).sum(1) / (x.norm(2, 1) * y.norm(2, 1));
  const torch::Tensor angle = cosine.clamp(-1, 1).acos();
  const torch::Tensor sine = angle.sin();
  // Parallel vectors: the limit is the straight line.
  const torch::Tensor parallel = sine < 1e-9;
  const torch::Tensor of_a =
      torch::where(parallel, torch::full_like(sine, 1 - share), ((1 - share) * angle).sin() / sine);
  const torch::Tensor of_b =
      torch::where(parallel, torch::full_like(sine, share), (share * angle).sin() / sine);
  return (of_a.unsqueeze(1) * x + of_b.unsqueeze(1) * y).view(a.sizes()).to(a.scalar_type());
}

}  // namespace ddpm::sample
