#pragma once

#include <cstdint>
#include <vector>

#include <torch/types.h>

// Power-function averages, and others rebuilt from them after training (Karras 2024, "Analyzing and
// Improving the Training Dynamics of Diffusion Models", arXiv 2312.02696, Sec. 3; docs/math.md,
// "Averages after the fact").

namespace ddpm::nn {

/// The relative lengths that have an exponent: above 12^(-1/2) it would be negative.
constexpr double kMinPowerLength = 0.001, kMaxPowerLength = 0.28;

/// The exponent gamma of the average of relative length sigma_rel, which is the standard deviation
/// of the profile tau^gamma on [0, 1] (Eq. 126): the root of
/// gamma^3 + 7 gamma^2 + (16 - sigma_rel^-2) gamma + 12 - sigma_rel^-2 with gamma >= 0.
double power_exponent(double length);

/// The weight of the parameters in the n-th update, n >= 1: 1 - beta_n with
/// beta_n = (1 - 1/n)^(exponent + 1) (Eq. 127). 1 for n = 1: the initial weights have no share.
double power_weight(double exponent, int64_t n);

/// The profile of an average after so many updates: its weight per step is
/// (gamma + 1) tau^gamma / steps^(gamma + 1) for 0 <= tau <= steps.
struct PowerProfile {
  double exponent = 0.0;
  double steps = 0.0;
  bool operator==(const PowerProfile&) const = default;
};

/// The integral of the product of two profiles (Eq. 151).
double inner_product(const PowerProfile& a, const PowerProfile& b);

/// The best sum of given profiles for a target.
struct ProfileFit {
  std::vector<double> coefficients;  ///< one per profile
  double error = 0.0;  ///< norm of (target - sum) over the norm of the target; at most 1
};

/// Profiles of stored averages. The same sum of the averages has the sum of the profiles.
class ProfileSpan {
 public:
  /// At least one profile.
  explicit ProfileSpan(std::vector<PowerProfile> profiles);
  /// The least squares (Alg. 3). If the target is one of the profiles, it alone has a coefficient.
  ProfileFit fit(const PowerProfile& target) const;

 private:
  std::vector<PowerProfile> profiles_;
  torch::Tensor gram_;     // of the profiles, each divided by its norm; float64 [N,N]
  torch::Tensor inverse_;  // of gram_
};

/// An interval of relative lengths.
struct LengthRange {
  double low = 0.0, high = 0.0;
};

/// The intervals of lengths that the span gives at `steps` with at most this error, to 1 % of a
/// length.
std::vector<LengthRange> lengths_within(const ProfileSpan& span, double steps, double error);

}  // namespace ddpm::nn
