#pragma once

#include "ddpm/diffusion/diffusion.h"

#include <functional>
#include <vector>

#include <torch/types.h>

namespace ddpm::diffusion {

/// How one prediction is guided by another, at each network call: guided = guide + weight
/// (main - guide). With classifier-free guidance main is the prediction with the image's class and
/// guide that without a class (Ho and Salimans 2022, Eq. 6, whose w is weight - 1). With
/// autoguidance, guide is a weaker network (Karras 2024, Eq. 5).
struct Guidance {
  double weight = 1.0;  ///< 1: main alone; 0: guide alone
  /// {low, high}: only where low < sigma <= high, sigma = sqrt((1 - alpha_bar) / alpha_bar); main
  /// alone elsewhere (Kynkaanniemi 2024, Eq. 5). Empty: everywhere.
  std::vector<double> interval = {};
  /// phi of Lin 2024 (Eqs. 14 to 16): 1 gives the guided prediction main's standard deviation, 0
  /// leaves it.
  double rescale = 0.0;
  // Adaptive projected guidance (Sadat 2024, Algorithm 1), on x0_hat. The defaults change nothing.
  double parallel = 1.0;  ///< eta: the share of the update parallel to main's x0_hat
  double norm = 0.0;      ///< r: the largest norm of main - guide of an image; 0: no limit
  double momentum = 0.0;  ///< beta: share of the former update that is added; negative: repelled

  /// Whether the projection changes anything.
  bool projects() const { return parallel != 1.0 || norm > 0 || momentum != 0; }
  bool operator==(const Guidance&) const = default;
};

/// The outputs of both for one x_t and t.
struct OutputPair {
  torch::Tensor main, guide;
};
using PairDenoiser = std::function<OutputPair(const torch::Tensor& x_t, const torch::Tensor& t)>;

/// Combines two denoisers by Guidance. Every sampler can use it, because it is a Denoiser. The outputs
/// [B,C,H,W] are combined as they are: at one x_t, eps, x0, mu and v are affine functions of each
/// other. A learned variance is main's. Has the same operations at every step on a GPU (for CUDA
/// graphs). On a CPU it calls main alone outside the interval.
class GuidedDenoiser {
 public:
  /// `main` alone serves weight 1, `guide` alone weight 0, `both` the rest.
  struct Sources {
    Denoiser main, guide;
    PairDenoiser both;
  };
  GuidedDenoiser(const Guidance& guidance, const Diffusion& diffusion, Sources sources);

  /// As Denoiser.
  torch::Tensor operator()(const torch::Tensor& x_t, const torch::Tensor& t) const;
  /// Forgets the momentum. Call it before each batch.
  void reset_();

 private:
  torch::Tensor weight_at(const torch::Tensor& t, const torch::Tensor& like) const;
  torch::Tensor combined(const OutputPair& pair, const torch::Tensor& weight) const;
  torch::Tensor projected(const OutputPair& pair, const torch::Tensor& weight,
                          const torch::Tensor& x_t, const torch::Tensor& t) const;
  torch::Tensor with_momentum(const torch::Tensor& difference, const torch::Tensor& weight) const;

  Guidance guidance_;
  Diffusion diffusion_;
  Sources sources_;
  mutable torch::Tensor weights_;  // float64 [T + 1], on the device of the last call
  mutable torch::Tensor former_;   // the update of the call before, of the largest batch so far
};

/// The sources of two separate denoisers, which are called one after the other.
GuidedDenoiser::Sources sources_of(const Denoiser& main, const Denoiser& guide);

/// The gradient with respect to x_t of a log-density, as log p(y | x_t) of a classifier: x_t
/// [B,C,H,W] and t int64 [B] in 1..T to [B,C,H,W].
using Score = std::function<torch::Tensor(const torch::Tensor& x_t, const torch::Tensor& t)>;

/// A denoiser whose samples are pulled along a score (Dhariwal and Nichol 2021, Sec. 4.2 and
/// Algorithm 2): eps_hat - scale sqrt(1 - alpha_bar) score(x_t, t), in the terms of the diffusion's
/// prediction. Every sampler can use it. With scale 1 and the score of log p(y | x_t) it is the
/// denoiser of p(x_0 | y). Where alpha_bar is 0, x_t says nothing of y, and nothing is changed.
/// A learned variance stays as it is.
Denoiser score_guided(Denoiser inner, const Diffusion& diffusion, Score score, double scale);

}  // namespace ddpm::diffusion
