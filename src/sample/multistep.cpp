#include "multistep.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace ddpm::sample {

void History::push(const Past& past) {
  if (!values_.empty() && !std::isfinite(values_.front().at)) values_.clear();
  values_.push_front(past);
  if (std::ssize(values_) > order_) values_.pop_back();
  ++pushed_;
}

int64_t History::order(const PlanStep& step) const {
  constexpr int64_t kFewSteps = 15;
  const int64_t left = steps_ - pushed_ + 1;  // with this one
  // Of s = t, the end at last_alpha = first, nothing is left to integrate.
  const bool no_polynomial = step.s == 0 || step.s == step.t;
  const int64_t by_end = no_polynomial ? 1 : steps_ < kFewSteps ? left : order_;
  return std::min({order_, std::ssize(values_), by_end});
}

int64_t chain_length(const SampleConfig& config, const diffusion::Schedule& schedule) {
  return std::ssize(timestep_plan(schedule, config));
}

std::optional<Conflict> check_solver(const SampleConfig& config) {
  if (config.eta != 0)
    return Conflict{"eta", fmt::format("needs method ddim; {} has no such noise", config.method)};
  if (config.sigma != Sigma::kSmall)
    return Conflict{"sigma",
                    fmt::format("needs method ddpm or ddim; {} sets its own noise", config.method)};
  return std::nullopt;
}

std::string describe_no_noise(const SampleConfig&) { return "deterministic"; }

}  // namespace ddpm::sample
