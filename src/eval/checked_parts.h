#pragma once

#include "ddpm/diffusion/posterior.h"
#include "ddpm/eval/self_check.h"
#include "ddpm/sample/latent.h"
#include "ddpm/sample/methods.h"
#include "ddpm/sample/sampler.h"

#include <functional>
#include <memory>
#include <vector>

namespace ddpm::eval {

/// The tables of a schedule by t = 0..T. Entry 0 of those that begin at t = 1 is not read.
struct ScheduleNumbers {
  std::vector<double> beta, alpha_bar, one_minus_alpha_bar, weight_x0, weight_x_t, beta_tilde, snr;
  int64_t timesteps() const { return std::ssize(beta) - 1; }
};
ScheduleNumbers numbers_of(const diffusion::Schedule& schedule);

/// What `network` says at each x_t, as an output of another prediction.
diffusion::Denoiser restated(const diffusion::Denoiser& network,
                             const diffusion::Diffusion& diffusion,
                             diffusion::Prediction prediction);

/// The parts of the program whose mathematics is checked. Tests replace one by a wrong one.
struct CheckedParts {
  std::function<ScheduleNumbers(const diffusion::Schedule&)> numbers = &numbers_of;
  std::function<diffusion::JumpPosterior(const diffusion::Schedule&, int64_t t, int64_t s)> jump =
      &diffusion::jump_posterior;
  std::function<diffusion::Denoiser(const diffusion::Denoiser&, const diffusion::Diffusion&,
                                    diffusion::Prediction)>
      restate = &restated;
  std::function<std::unique_ptr<sample::Sampler>(const sample::SampleConfig&,
                                                 const diffusion::Schedule&)>
      make_sampler = &sample::make_sampler;
  std::function<torch::Tensor(const diffusion::Denoiser&, const diffusion::Diffusion&,
                              const sample::SampleConfig&, const torch::Tensor&)>
      encode = &sample::encode;
};

/// What every part of a self-check gets.
struct CheckContext {
  const CheckSubject& subject;
  const CheckOptions& options;
  const CheckedParts& parts;

  const diffusion::Schedule& schedule() const { return subject.diffusion.schedule(); }
  double rounding() const;
};

/// run_self_check with other parts.
std::vector<CheckRow> run_self_check(const CheckSubject& subject, const CheckOptions& options,
                                     const CheckedParts& parts);

}  // namespace ddpm::eval
