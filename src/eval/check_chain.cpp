#include "check_chain.h"

#include "ddpm/base/rng.h"
#include "ddpm/diffusion/schedule.h"
#include "ddpm/kernels/elementwise.h"
#include "ddpm/sample/reverse_process.h"

#include <cmath>

#include <torch/types.h>

namespace ddpm::eval {

sample::SampleConfig chain_config(const CheckContext& context, const std::string& method,
                                  int64_t steps) {
  sample::SampleConfig config;
  config.method = method;
  config.steps = std::min(steps, context.schedule().timesteps());
  config.spacing = sample::Spacing::kTrailing;
  config.clip = sample::Clip::kNone;
  return config;
}

torch::Tensor chain(const CheckContext& context, const diffusion::Denoiser& network,
                    const diffusion::Diffusion& diffusion, const sample::SampleConfig& config,
                    Result result) {
  const torch::Tensor& x_T = context.subject.x_T;
  const torch::Tensor ids =
      torch::arange(x_T.size(0), torch::dtype(torch::kInt64).device(x_T.device()));
  const RngKey key = rng_key(context.options.seed, Purpose::kSamplerNoise);
  const auto noise = [&](int64_t k, int64_t draw) {
    const torch::Tensor z = torch::empty_like(x_T);
    kernels::fill_normal_(z, key, ids, static_cast<uint32_t>(k + (draw << 20)));
    return z;
  };
  const sample::ReverseProcess process(
      diffusion, config, [&] { return context.parts.make_sampler(config, diffusion.schedule()); });
  torch::Tensor last;
  const auto hook = [&](const sample::TrajectoryPoint& point) {
    last = point.x_t;
    return true;
  };
  const torch::Tensor image = *process.run(network, x_T, noise, hook);
  return result == Result::kImage ? image : last;
}

std::vector<int64_t> even_times(const diffusion::Schedule& schedule, int64_t jumps) {
  constexpr double kLow = -4.0, kHigh = 1.6;
  const auto lambda = [&](int64_t t) { return diffusion::half_log_snr(schedule, t); };
  int64_t begin = schedule.timesteps(), end = 1;
  while (begin > 1 && lambda(begin) < kLow) --begin;
  while (end < begin && lambda(end) > kHigh) ++end;
  std::vector<int64_t> times{begin};
  int64_t t = begin;
  for (int64_t i = 1; i <= jumps; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(jumps);
    const double wanted = (1 - share) * lambda(begin) + share * lambda(end);
    while (t > end && std::abs(lambda(t - 1) - wanted) <= std::abs(lambda(t) - wanted)) --t;
    if (t < times.back()) times.push_back(t);
  }
  return times;
}

}  // namespace ddpm::eval
