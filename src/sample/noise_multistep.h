#pragma once

#include "ddpm/sample/sample_config.h"
#include "ddpm/sample/sampler.h"
#include "jump.h"
#include "multistep.h"

#include <cstdint>
#include <memory>

#include <torch/types.h>

namespace ddpm::sample {

// Multistep methods that integrate dy/dsigma = eps_hat, y = x / sqrt(alpha_bar) (Song 2021, Eq. 14),
// by a polynomial of eps_hat through the last steps.

/// DEIS (Zhang and Chen 2023, Sec. 3.3, "tAB-DEIS"), the polynomial being in log sigma, as
/// diffusers' DEISMultistepScheduler.
class Deis : public Sampler {
 public:
  /// order 1..3. `steps`: of the chain.
  Deis(const diffusion::Schedule& schedule, int64_t order, int64_t steps)
      : schedule_(schedule), history_(order, steps) {}
  torch::Tensor step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                     const StepNoise& noise) override;

 private:
  diffusion::Schedule schedule_;
  History history_;  // of eps_hat at log sigma
};

/// iPNDM (Zhang and Chen 2023, App. H): the weights of Adams and Bashforth for equal steps, whatever
/// the steps are.
class Ipndm : public Sampler {
 public:
  /// order 1..4. `steps`: of the chain.
  Ipndm(const diffusion::Schedule& schedule, int64_t order, int64_t steps)
      : schedule_(schedule), history_(order, steps) {}
  torch::Tensor step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                     const StepNoise& noise) override;

 private:
  diffusion::Schedule schedule_;
  History history_;  // of eps_hat at log sigma
};

std::unique_ptr<Sampler> make_deis(const SampleConfig& config, const diffusion::Schedule& schedule);
std::unique_ptr<Sampler> make_ipndm(const SampleConfig& config,
                                    const diffusion::Schedule& schedule);

}  // namespace ddpm::sample
