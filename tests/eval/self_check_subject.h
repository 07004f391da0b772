#pragma once

// Networks that could not be better, for tests of the self-check.

#include "ddpm/eval/self_check.h"
#include "ddpm/kernels/elementwise.h"
#include "src/eval/checked_parts.h"
#include "tests/base/test_purpose.h"

#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

using diffusion::Denoiser;
using diffusion::Diffusion;
using diffusion::Prediction;
using diffusion::Schedule;
using diffusion::ScheduleConfig;
using diffusion::ScheduleKind;
using diffusion::Table;
using sample::SampleConfig;
using torch::Tensor;

inline constexpr double kData = 0.25;  // the variance of every pixel; the mean is 0

inline Tensor normal(torch::IntArrayRef sizes) {
  Tensor x = torch::empty(sizes, torch::kDouble);
  kernels::fill_normal_(x, rng_key(3, kTestPurpose), torch::arange(sizes[0]));
  return x;
}

// E[x_0 | x_t] of N(mean, kData), as an output of the diffusion's prediction.
inline Denoiser best(const Diffusion& diffusion, double mean = 0.0) {
  return [=](const Tensor& x_t, const Tensor& t) {
    const Schedule& s = diffusion.schedule();
    const Tensor a = s.gather(Table::kSqrtAlphaBar, t, x_t);
    const Tensor n = s.gather(Table::kSqrtOneMinusAlphaBar, t, x_t);
    const Tensor total = a.square() * kData + n.square();
    const Tensor rest = x_t - a * mean;
    return diffusion.target(mean + a * kData / total * rest, n / total * rest, x_t, t);
  };
}

// The same of images that are nearly of one shade: N(0, kData) in all pixels together, and N(0, 1e-3)
// in each.
inline Denoiser best_of_shades(const Diffusion& diffusion) {
  return [=](const Tensor& x_t, const Tensor& t) {
    const Schedule& s = diffusion.schedule();
    const Tensor a = s.gather(Table::kSqrtAlphaBar, t, x_t);
    const Tensor n = s.gather(Table::kSqrtOneMinusAlphaBar, t, x_t);
    const Tensor shade = x_t.mean(torch::IntArrayRef{1, 2, 3}, /*keepdim=*/true);
    const auto pixels = static_cast<double>(x_t[0].numel());
    Tensor x0 = torch::zeros_like(x_t), eps = torch::zeros_like(x_t);
    // The eigenvalues of the covariance, and x_t in their spaces.
    for (const auto& [c, part] :
         {std::pair{pixels * kData + 1e-3, shade.expand_as(x_t)}, std::pair{1e-3, x_t - shade}}) {
      const Tensor total = a.square() * c + n.square();
      x0 = x0 + a * c / total * part;
      eps = eps + n / total * part;
    }
    return diffusion.target(x0, eps, x_t, t);
  };
}

inline CheckSubject subject_of(const Diffusion& diffusion) {
  return {.diffusion = diffusion,
          .network = best(diffusion),
          .precision = nn::Precision::kFp64,
          .x_T = normal({4, 1, 8, 8}),
          .no_variance = "not measured"};
}

inline const Diffusion& linear() {
  static const Diffusion diffusion(Schedule(ScheduleConfig{}), Prediction::kEpsilon);
  return diffusion;
}

// All that a network can have.
inline CheckSubject full_subject() {
  CheckSubject subject = subject_of(linear());
  subject.other_class = best(linear(), 0.5);
  subject.null_class = best(linear(), 0.2);
  subject.guided = [main = subject.network,
                    null = subject.null_class](const diffusion::Guidance& guidance) -> Denoiser {
    return diffusion::GuidedDenoiser(guidance, linear(), diffusion::sources_of(main, null));
  };
  subject.in_float64 = subject.network;
  subject.in_bfloat16 = subject.network;
  PosteriorVariance variance;
  for (int64_t t = 1; t <= 1000; t += 27) {
    const double noise = linear().schedule().one_minus_alpha_bar(t);
    variance.t.push_back(t);
    variance.variance.push_back(kData * noise / ((1 - noise) * kData + noise));
  }
  subject.variance = variance;
  return subject;
}

inline std::vector<CheckRow> rows_of(const CheckSubject& subject, const CheckedParts& parts = {},
                                     int64_t steps = 10) {
  return run_self_check(subject, {.steps = steps}, parts);
}

inline const CheckRow& row_named(const std::vector<CheckRow>& rows, const std::string& name) {
  for (const CheckRow& row : rows)
    if (row.name == name) return row;
  throw std::out_of_range(name + " is missing in\n" + to_text(rows));
}

inline std::set<std::string> failed_names(const CheckSubject& subject,
                                          const CheckedParts& parts = {}) {
  std::set<std::string> names;
  for (const CheckRow& row : failures(rows_of(subject, parts))) names.insert(row.name);
  return names;
}

using Names = std::set<std::string>;

}  // namespace ddpm::eval
