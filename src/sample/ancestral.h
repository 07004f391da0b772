#pragma once

#include "ddpm/sample/sample_config.h"
#include "ddpm/sample/sampler.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ddpm::sample {

/// The noise of an ancestral step from t to s, where beta is the jump's beta.
enum class AncestralVariance {
  kSmall,  ///< beta_tilde = (1 - alpha_bar_s) / (1 - alpha_bar_t) beta: right if x_0 is one point
  kLarge,  ///< beta: right if x_0 ~ N(0,I) (Ho 2020, Sec. 3.2)
  kAnalytic,  ///< beta_tilde + (x_0's weight in the mean)^2 Var(x_0 | x_t): optimal (Bao 2022, Eq. 8)
  kLearned,  ///< between them as the network says: beta^v beta_tilde^(1-v) (Nichol 2021, Eq. 15)
};

/// sigma z, z ~ N(0,I) [B,C,H,W]. small, large: beta_tilde and beta. v: what the network says of the
/// variance (diffusion::Estimate), read by kLearned alone, which needs it.
torch::Tensor step_noise(AncestralVariance variance, double small, double large,
                         const torch::Tensor& v, const torch::Tensor& z);

/// posterior_variance[t]. c10::Error if it is missing.
double known_variance(const std::vector<double>& posterior_variance, int64_t t);

/// Algorithm 2 (Ho 2020) on any subset of the steps: x_s ~ N(posterior mean, variance), with the
/// posterior of the schedule that has only the visited steps (diffusion/posterior.h). No noise at
/// the last step (s = 0).
class AncestralSampler : public Sampler {
 public:
  /// posterior_variance: Var(x_0 | x_t) by t = 0..T, for kAnalytic.
  AncestralSampler(const diffusion::Schedule& schedule, AncestralVariance variance,
                   std::vector<double> posterior_variance = {})
      : schedule_(schedule),
        variance_(variance),
        posterior_variance_(std::move(posterior_variance)) {}

  torch::Tensor step(const PlanStep& step, const torch::Tensor& x_t, const Estimator& estimate,
                     const StepNoise& noise) override;

 private:
  diffusion::Schedule schedule_;
  AncestralVariance variance_;
  std::vector<double> posterior_variance_;
};

std::unique_ptr<Sampler> make_ancestral(const SampleConfig& config,
                                        const diffusion::Schedule& schedule);
std::optional<Conflict> check_ancestral(const SampleConfig& config);
std::string describe_ancestral_noise(const SampleConfig& config);

}  // namespace ddpm::sample
