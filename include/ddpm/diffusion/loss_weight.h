#pragma once

#include "ddpm/config/names.h"
#include "ddpm/diffusion/diffusion.h"

#include <array>

namespace ddpm::diffusion {

/// The weight of the training loss by t. Errors of the same estimate in other spaces differ by a
/// factor of t alone (docs/math.md, "Weights of the loss"), so a weight also says in which space the
/// error is measured.
enum class LossWeighting {
  kSimple,        ///< "simple": 1, the error of what the network predicts (Ho 2020, Eq. 14)
  kEps,           ///< "eps": the error of eps_hat
  kX0,            ///< "x0": the error of x0_hat
  kV,             ///< "v": the error of v_hat
  kMinSnr,        ///< "min_snr": min(SNR, gamma) of the error of x0_hat (Hang 2023, Eq. 10)
  kSoftMinSnr,    ///< "soft_min_snr": SNR gamma / (SNR + gamma) of it (Crowson 2024, Sec. 3.3)
  kTruncatedSnr,  ///< "truncated_snr": max(SNR, 1) of it (Salimans 2022, Sec. 4)
  kP2,            ///< "p2": (1 + SNR)^-gamma of the error of eps_hat (Choi 2022, Eq. 8, k = 1)
  kLearned,  ///< "learned": 1 / E L_t of the simple loss, trained with the network (Karras 2024)
};
constexpr auto names_of(LossWeighting) {
  return std::array{"simple",       "eps",           "x0", "v",      "min_snr",
                    "soft_min_snr", "truncated_snr", "p2", "learned"};
}

struct LossWeightConfig {
  LossWeighting weighting = LossWeighting::kSimple;
  /// Of min_snr, soft_min_snr and p2; 0: the papers' 5, 4 and 1.
  double gamma = 0.0;

  bool operator==(const LossWeightConfig&) const = default;
};

/// The weight w(t) of the mean squared error of what the network predicts; empty for kSimple, which
/// is 1, and for kLearned, which training adds. Where the error of the prediction says nothing of
/// the space (v at alpha_bar = 0 measured as eps), the weight is 0.
LossWeight loss_weight(const LossWeightConfig& config, const Schedule& schedule,
                       const Parameterization& parameterization);

}  // namespace ddpm::diffusion
