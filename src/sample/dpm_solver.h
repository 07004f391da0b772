#pragma once

#include "ddim.h"
#include "ddpm/sample/sample_config.h"
#include "ddpm/sample/sampler.h"
#include "jump.h"
#include "multistep.h"

#include <memory>
#include <string>

namespace ddpm::sample {

/// The weight of the quadratic term of order 3.
enum class QuadraticTerm { kExact, kHalved };

/// DPM-Solver++ (Lu 2022, "DPM-Solver++", Algorithm 2 and App. B): a multistep method that
/// integrates the exact linear part and a polynomial of x0_hat in lambda. With h = lambda_s -
/// lambda_t and q = h, or q = 2 h for the SDE:
///   x_s = first-order step + a_s (c_1 D_1 + c_2 D_2), D_1 and D_2 the scaled differences of x0_hat;
///   order 2: c_1 = (1 - e^-q) / 2 (the midpoint form);
///   order 3: c_1 = 1 - (1 - e^-q) / q, c_2 = 1 - 2 c_1 / q, the integrals of u and u^2.
/// diffusers and the paper's code halve c_2, which leaves order 2; QuadraticTerm::kHalved follows
/// them. The first-order step is DDIM with eta 0; for the SDE with eta 1.
class DpmSolver : public Sampler {
 public:
  /// order 1..3. `steps`: of the chain.
  DpmSolver(const diffusion::Schedule& schedule, int64_t order, bool stochastic, int64_t steps,
            QuadraticTerm quadratic = QuadraticTerm::kExact)
      : schedule_(schedule),
        first_order_(schedule, {.eta = stochastic ? 1.0 : 0.0}),
        stochastic_(stochastic),
        quadratic_(quadratic),
        history_(order, steps) {}

  torch::Tensor step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                     const StepNoise& noise) override;

 private:
  torch::Tensor correction(const Jump& jump, int64_t order) const;

  diffusion::Schedule schedule_;
  DdimSampler first_order_;
  bool stochastic_;
  QuadraticTerm quadratic_;
  History history_;  // of x0_hat at lambda
};

std::unique_ptr<Sampler> make_dpmpp_2m(const SampleConfig& config,
                                       const diffusion::Schedule& schedule);
std::unique_ptr<Sampler> make_dpmpp_3m(const SampleConfig& config,
                                       const diffusion::Schedule& schedule);
std::unique_ptr<Sampler> make_dpmpp_2m_sde(const SampleConfig& config,
                                           const diffusion::Schedule& schedule);
std::unique_ptr<Sampler> make_dpmpp_3m_sde(const SampleConfig& config,
                                           const diffusion::Schedule& schedule);
/// "the SDE's noise".
std::string describe_sde_noise(const SampleConfig& config);

}  // namespace ddpm::sample
