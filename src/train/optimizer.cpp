#include "ddpm/train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <torch/utils.h>

namespace ddpm::train {

void fields(config::Fields& f, OptimizerConfig& c) {
  const config::Range<double> below_one{0.0, 1.0, false, true};
  f.two("kind", c.decoupled, "adam", "adamw");
  f("lr", c.lr, config::positive());
  f("beta1", c.beta1, below_one);
  f("beta2", c.beta2, below_one);
  f("eps", c.eps, config::positive());
  f("weight_decay", c.weight_decay, config::at_least(0.0));
  f("grad_clip", c.grad_clip, config::at_least(0.0));
  f("warmup_steps", c.warmup_steps, config::at_least(0));
  f("decay", c.decay);
  f("decay_steps", c.decay_steps, config::at_least(0));
}

namespace {

double decay_steps(const OptimizerConfig& config, int64_t total_steps) {
  const int64_t steps = config.decay_steps > 0 ? config.decay_steps : total_steps / 10;
  return static_cast<double>(std::max<int64_t>(steps, 1));
}

}  // namespace

double learning_rate(const OptimizerConfig& config, int64_t step, int64_t total_steps) {
  if (step <= config.warmup_steps) {
    return config.lr * static_cast<double>(step) / static_cast<double>(config.warmup_steps);
  }
  // The first update after warm-up (k = 0) has the full rate. No update has rate 0.
  const auto k = static_cast<double>(step - config.warmup_steps - 1);
  const double fraction =
      std::min(1.0, k / std::max<double>(1.0, total_steps - config.warmup_steps));
  switch (config.decay) {
    case LrDecay::kConstant:
      return config.lr;
    case LrDecay::kCosine:
      return config.lr * 0.5 * (1.0 + std::cos(std::numbers::pi * fraction));
    case LrDecay::kLinear:
      return config.lr * (1.0 - fraction);
    case LrDecay::kInverseSqrt:
      return config.lr /
             std::sqrt(std::max(1.0, static_cast<double>(step) / decay_steps(config, total_steps)));
    case LrDecay::kStable: {
      const double length = decay_steps(config, total_steps);
      const double share = (static_cast<double>(step - 1 - total_steps) + length) / length;
      return config.lr * (1.0 - std::sqrt(std::clamp(share, 0.0, 1.0)));
    }
  }
  TORCH_CHECK(false, "unknown decay");
}

namespace {

std::vector<torch::Tensor> gradients(const std::vector<torch::Tensor>& parameters) {
  std::vector<torch::Tensor> result;
  for (const torch::Tensor& p : parameters) {
    TORCH_CHECK(p.grad().defined(), "a parameter has no gradient");
    result.push_back(p.grad());
  }
  return result;
}

}  // namespace

Optimizer::Optimizer(std::vector<torch::Tensor> parameters, const OptimizerConfig& config)
    : Optimizer(parameters, config, parameters) {}

Optimizer::Optimizer(std::vector<torch::Tensor> parameters, const OptimizerConfig& config,
                     std::vector<torch::Tensor> whole)
    : parameters_(std::move(parameters)), whole_(std::move(whole)), config_(config) {
  TORCH_CHECK(!parameters_.empty(), "nothing to optimise");
  for (const torch::Tensor& p : parameters_) {
    first_moments_.push_back(torch::zeros_like(p).detach());
    second_moments_.push_back(torch::zeros_like(p).detach());
  }
  updates_ = torch::zeros({}, torch::dtype(torch::kFloat).device(parameters_[0].device()));
  const torch::Device device = parameters_[0].device();
  rate_ = torch::zeros(
      {}, torch::dtype(device.is_cpu() ? torch::kDouble : torch::kFloat).device(device));
  update_counts_.assign(parameters_.size(), updates_);
}

UpdateInfo Optimizer::step_() {
  const torch::NoGradGuard no_grad;
  const std::vector<torch::Tensor> grads = gradients(parameters_);
  const torch::Tensor norm =
      at::linalg_vector_norm(torch::stack(at::_foreach_norm(gradients(whole_))), 2);
  const torch::Tensor skipped = torch::logical_not(torch::isfinite(norm)).to(torch::kFloat);

  // Clipping divides by max(1, norm / limit). The fused kernels divide in float32, which is too
  // imprecise for float64 parameters.
  std::optional<torch::Tensor> divisor;
  if (config_.grad_clip > 0.0) {
    const torch::Tensor excess = torch::clamp_min(norm / config_.grad_clip, 1.0);
    if (norm.scalar_type() == torch::kFloat) {
      divisor = excess;
    } else {
      at::_foreach_div_(grads, excess);
    }
  }

  updates_ += 1.0 - skipped;
  if (config_.decoupled) {
    at::_fused_adamw_(parameters_, grads, first_moments_, second_moments_, {}, update_counts_,
                      rate_, config_.beta1, config_.beta2, config_.weight_decay, config_.eps, false,
                      false, divisor, skipped);
  } else {
    at::_fused_adam_(parameters_, grads, first_moments_, second_moments_, {}, update_counts_, rate_,
                     config_.beta1, config_.beta2, config_.weight_decay, config_.eps, false, false,
                     divisor, skipped);
  }
  return {norm, skipped};
}

}  // namespace ddpm::train
