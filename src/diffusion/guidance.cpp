#include "ddpm/diffusion/guidance.h"

#include "ddpm/diffusion/schedule.h"

#include <utility>

#include <torch/types.h>

namespace ddpm::diffusion {
namespace {

// The weight of each t = 0..T, float64; t = 0 is not used.
torch::Tensor weight_table(const Guidance& guidance, const Schedule& schedule) {
  torch::Tensor table =
      torch::full({schedule.timesteps() + 1}, guidance.weight, torch::dtype(torch::kDouble));
  if (guidance.interval.empty()) return table;
  for (int64_t t = 1; t <= schedule.timesteps(); ++t) {
    const double sigma = noise_level(schedule, t);
    if (!(guidance.interval[0] < sigma && sigma <= guidance.interval[1])) table[t] = 1.0;
  }
  return table;
}

// Sums over all elements of an image: [B,1,1,1].
torch::Tensor image_sum(const torch::Tensor& x) {
  return x.sum(torch::IntArrayRef{1, 2, 3}, /*keepdim=*/true);
}

torch::Tensor image_deviation(const torch::Tensor& x) {
  return x.std(torch::IntArrayRef{1, 2, 3}, /*unbiased=*/true, /*keepdim=*/true);
}

}  // namespace

GuidedDenoiser::GuidedDenoiser(const Guidance& guidance, const Diffusion& diffusion,
                               Sources sources)
    : guidance_(guidance),
      diffusion_(diffusion),
      sources_(std::move(sources)),
      weights_(weight_table(guidance, diffusion.schedule())) {
  TORCH_CHECK(guidance.interval.empty() || guidance.interval.size() == 2,
              "an interval has two ends");
}

torch::Tensor GuidedDenoiser::operator()(const torch::Tensor& x_t, const torch::Tensor& t) const {
  if (guidance_.weight == 1.0) return sources_.main(x_t, t);
  if (guidance_.weight == 0.0 && guidance_.interval.empty()) return sources_.guide(x_t, t);
  const torch::Tensor weight = weight_at(t, x_t);
  if (t.is_cpu() && weight.eq(1.0).all().item<bool>()) return sources_.main(x_t, t);
  const OutputPair pair = sources_.both(x_t, t);
  const int64_t channels = x_t.size(1);
  const OutputPair means{pair.main.narrow(1, 0, channels).to(x_t.scalar_type()),
                         pair.guide.narrow(1, 0, channels).to(x_t.scalar_type())};
  torch::Tensor guided =
      guidance_.projects() ? projected(means, weight, x_t, t) : combined(means, weight);
  if (guidance_.rescale > 0) {
    const torch::Tensor factor = image_deviation(means.main) / image_deviation(guided);
    guided = guided * torch::where(weight == 1.0, torch::ones_like(factor),
                                   guidance_.rescale * factor + (1 - guidance_.rescale));
  }
  return with_mean(pair.main, guided);
}

void GuidedDenoiser::reset_() {
  if (former_.defined()) former_.zero_();
}

torch::Tensor GuidedDenoiser::weight_at(const torch::Tensor& t, const torch::Tensor& like) const {
  if (weights_.device() != t.device()) weights_ = weights_.to(t.device());
  return weights_.index_select(0, t).to(like.scalar_type()).view({-1, 1, 1, 1});
}

// main + (weight - 1) (main - guide): exactly main if the weight is 1.
torch::Tensor GuidedDenoiser::combined(const OutputPair& pair, const torch::Tensor& weight) const {
  return pair.main + (weight - 1) * (pair.main - pair.guide);
}

// Sadat 2024, Algorithm 1.
torch::Tensor GuidedDenoiser::projected(const OutputPair& pair, const torch::Tensor& weight,
                                        const torch::Tensor& x_t, const torch::Tensor& t) const {
  const torch::Tensor x0 = diffusion_.estimate(pair.main, x_t, t).x0;
  torch::Tensor difference = with_momentum(x0 - diffusion_.estimate(pair.guide, x_t, t).x0, weight);
  if (guidance_.norm > 0)
    difference = difference * (guidance_.norm / image_sum(difference.square()).sqrt()).clamp_max(1);
  const torch::Tensor parallel =
      image_sum(difference * x0) / image_sum(x0.square()).clamp_min(1e-24) * x0;
  const torch::Tensor update = difference - (1 - guidance_.parallel) * parallel;
  const torch::Tensor moved = x0 + (weight - 1) * update;
  // The output that says so at this x_t.
  const Estimate guided = Diffusion(diffusion_.schedule(), Prediction::kX0).estimate(moved, x_t, t);
  return torch::where(weight == 1.0, pair.main, diffusion_.target(guided.x0, guided.eps, x_t, t));
}

torch::Tensor GuidedDenoiser::with_momentum(const torch::Tensor& difference,
                                            const torch::Tensor& weight) const {
  if (guidance_.momentum == 0) return difference;
  const int64_t count = difference.size(0);
  if (!former_.defined() || former_.size(0) < count) former_ = torch::zeros_like(difference);
  torch::Tensor running = former_.narrow(0, 0, count);
  const torch::Tensor sum = difference + guidance_.momentum * running;
  // In place: a CUDA graph needs that. Gradients end at the former call.
  running.copy_(torch::where(weight == 1.0, running, sum).detach());
  return sum;
}

GuidedDenoiser::Sources sources_of(const Denoiser& main, const Denoiser& guide) {
  return {main, guide, [=](const torch::Tensor& x_t, const torch::Tensor& t) {
            return OutputPair{main(x_t, t), guide(x_t, t)};
          }};
}

}  // namespace ddpm::diffusion
