#include "ddpm/sample/sampler.h"

#include "ancestral.h"
#include "ddim.h"
#include "ddpm/sample/sample_config.h"
#include "noisy_end.h"

#include <torch/types.h>

namespace ddpm::sample {
namespace {

AncestralVariance variance_of(Sigma sigma) {
  if (sigma == Sigma::kLarge) return AncestralVariance::kLarge;
  return sigma == Sigma::kLearned ? AncestralVariance::kLearned : AncestralVariance::kSmall;
}

}  // namespace

std::unique_ptr<Sampler> make_sampler(const SampleConfig& config,
                                      const diffusion::Schedule& schedule) {
  switch (config.method) {
    case Method::kDdpm:
      if (config.stepping == Stepping::kDiffusers)
        return std::make_unique<NoisyEnd>(schedule, variance_of(config.sigma));
      return std::make_unique<AncestralSampler>(schedule, variance_of(config.sigma));
    case Method::kDdim:
      return std::make_unique<DdimSampler>(schedule,
                                           DdimNoise{config.eta, config.sigma == Sigma::kHat});
  }
  TORCH_CHECK(false, "unknown method");
}

}  // namespace ddpm::sample
