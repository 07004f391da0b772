#pragma once

#include "ddpm/sample/sample_config.h"

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include <torch/types.h>

namespace ddpm::sample {

/// What a multistep method remembers of a step: where it began, and what it saw there.
struct Past {
  double at;            ///< lambda or sigma, as the method needs it
  torch::Tensor value;  ///< x0_hat or eps_hat [B,C,H,W]
};

/// The last values of a chain, and the order that the next step can have. One object per batch.
class History {
 public:
  /// `order`: of the method; `steps`: of the chain.
  History(int64_t order, int64_t steps) : order_(order), steps_(steps) {}

  /// Adds the value of the step that begins now. A value at an infinite place (alpha_bar = 0) is
  /// of no use to later steps and makes the history begin anew after it.
  void push(const Past& past);
  /// The order of the step that began with the last push: at most the values known and, for fewer
  /// than 15 steps, the steps left, as diffusers' lower_order_final. A step to s = 0 has order 1.
  int64_t order(const PlanStep& step) const;
  /// Values known, with the newest one.
  int64_t known() const { return static_cast<int64_t>(values_.size()); }
  /// The i-th value before the newest one, i = 0 being the newest.
  const Past& operator[](int64_t i) const { return values_[static_cast<size_t>(i)]; }

 private:
  int64_t order_, steps_;
  int64_t pushed_ = 0;
  std::deque<Past> values_;  // newest first, at most order_
};

/// The number of steps of a chain of that config.
int64_t chain_length(const SampleConfig& config, const diffusion::Schedule& schedule);

/// Solvers have no eta or sigma.
std::optional<Conflict> check_solver(const SampleConfig& config);
/// "deterministic".
std::string describe_no_noise(const SampleConfig& config);

}  // namespace ddpm::sample
