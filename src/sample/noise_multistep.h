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
  /// order 1..4. `steps`: of the chain. `heun_start`: see make_pndm.
  Ipndm(const diffusion::Schedule& schedule, int64_t order, int64_t steps, bool heun_start = false)
      : schedule_(schedule), history_(order, steps), heun_start_(heun_start) {}
  torch::Tensor step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                     const StepNoise& noise) override;

 private:
  diffusion::Schedule schedule_;
  History history_;  // of eps_hat at log sigma
  bool heun_start_;  // the next step of order 1 is Heun's
};

std::unique_ptr<Sampler> make_deis(const SampleConfig& config, const diffusion::Schedule& schedule);
std::unique_ptr<Sampler> make_ipndm(const SampleConfig& config,
                                    const diffusion::Schedule& schedule);

/// PNDM without Runge-Kutta steps (Liu 2022, Sec. 3.3; "PLMS" of Stable Diffusion, skip_prk_steps of
/// diffusers' PNDMScheduler): iPNDM of order 4 whose first step is Heun's, with two network calls.
/// The transfer of Liu 2022, Eq. 9 is the first-order step in another form.
std::unique_ptr<Sampler> make_pndm(const SampleConfig& config, const diffusion::Schedule& schedule);
/// The steps of so many calls: S - 1, or S if no step can have two.
int64_t pndm_steps(int64_t calls, const diffusion::Schedule& schedule);

}  // namespace ddpm::sample
