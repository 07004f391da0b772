#pragma once

#include "ddpm/sample/sample_config.h"
#include "ddpm/sample/sampler.h"
#include "jump.h"
#include "multistep.h"

#include <cstdint>
#include <memory>
#include <optional>

#include <torch/types.h>

namespace ddpm::sample {

/// UniPC with B(h) = e^-h - 1 ("bh2") on x0_hat (Zhao 2023, Algorithm 1 and Eqs. 5 to 9): a multistep
/// predictor, and a corrector of one order more that uses x0_hat at the end of the step. That is the
/// network call of the next step, so none is added.
class UniPc : public Sampler {
 public:
  /// order 1..3. `steps`: of the chain.
  UniPc(const diffusion::Schedule& schedule, int64_t order, int64_t steps)
      : schedule_(schedule), history_(order + 1, steps), order_(order), left_(steps) {}

  torch::Tensor step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                     const StepNoise& noise) override;

 private:
  // The step that ended at the present t.
  struct Former {
    Jump jump;
    torch::Tensor x;  // its x_t, corrected
    int64_t order;
  };
  torch::Tensor corrected() const;

  diffusion::Schedule schedule_;
  History history_;  // of x0_hat at lambda
  int64_t order_, left_;
  std::optional<Former> former_;
};

std::unique_ptr<Sampler> make_unipc(const SampleConfig& config,
                                    const diffusion::Schedule& schedule);

}  // namespace ddpm::sample
