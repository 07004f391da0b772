#pragma once

#include "ddpm/sample/sample_config.h"
#include "ddpm/sample/sampler.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ddpm::sample {

/// How much noise a DDIM step adds.
struct DdimNoise {
  double eta = 0.0;        ///< 0..1: 0 is deterministic, 1 is Algorithm 2 with beta_tilde
  bool sigma_hat = false;  ///< the mean of eta = 1 with noise sqrt(1 - alpha_bar_t / alpha_bar_s)
                           ///< (Song 2021, Sec. 5); eta is not read
  /// Var(x_0 | x_t) by t = 0..T. If it is given, each step adds the variance that x0_hat lacks: the
  /// optimal noise around the mean of `eta` (Bao 2022, Eq. 8, with lambda^2 = sigma^2).
  std::vector<double> posterior_variance = {};
};

/// Song 2021, Eqs. 12 and 16, from any t to any s < t:
///   x_s = sqrt(alpha_bar_s) x0_hat + sqrt(1 - alpha_bar_s - sigma^2) eps_hat + sigma z,
///   sigma = eta sqrt((1 - alpha_bar_s) / (1 - alpha_bar_t)) sqrt(1 - alpha_bar_t / alpha_bar_s).
/// The last step (s = 0) gives x0_hat, without noise.
class DdimSampler : public Sampler {
 public:
  /// c10::Error unless eta is in 0..1.
  DdimSampler(const diffusion::Schedule& schedule, const DdimNoise& noise);

  torch::Tensor step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                     const StepNoise& noise) override;

 private:
  diffusion::Schedule schedule_;
  DdimNoise noise_;
};

std::unique_ptr<Sampler> make_ddim(const SampleConfig& config, const diffusion::Schedule& schedule);
std::optional<Conflict> check_ddim(const SampleConfig& config);
std::string describe_ddim_noise(const SampleConfig& config);

}  // namespace ddpm::sample
