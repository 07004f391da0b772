#include "rate_distortion.h"

#include "chart.h"
#include "ddpm/diffusion/image_range.h"
#include "own_images.h"

#include <cmath>

namespace ddpm::eval {
namespace {

// The root of a mean, with the error that the mean's has on it.
Measured root_of(const Measured& mean) {
  const double root = std::sqrt(mean.value);
  return {root, root > 0 ? mean.error / (2 * root) : 0.0};
}

}  // namespace

void set_rate_distortion_(std::vector<LikelihoodTerm>& terms, const RateNumbers& numbers,
                          double dimensions) {
  const double to_bits = 1.0 / (dimensions * std::log(2.0));
  constexpr double kLevels = diffusion::kLevelsPerUnit * diffusion::kLevelsPerUnit;
  torch::Tensor above = numbers.prior.clone();
  for (size_t i = terms.size(); i-- > 0;) {
    const auto row = static_cast<int64_t>(i);
    terms[i].rate = mean_of_images((above + numbers.within[row]) * to_bits);
    terms[i].distortion = root_of(mean_of_images(kLevels * numbers.squared_errors[row]));
    above += static_cast<double>(terms[i].jumps) * numbers.nats[row];
  }
}

torch::Tensor draw_rate_distortion(const Likelihood& likelihood, const std::string& title) {
  Curve curve{"root mean squared error of x0_hat in levels of 0..255", {}, {}};
  for (const LikelihoodTerm& term : likelihood.terms) {
    curve.x.push_back(term.rate.value);
    curve.y.push_back(term.distortion.value);
  }
  return draw_chart({curve}, {.title = title, .x_label = "rate in bits/dim", .y_label = ""});
}

}  // namespace ddpm::eval
