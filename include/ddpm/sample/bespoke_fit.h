#pragma once

#include "ddpm/diffusion/diffusion.h"
#include "ddpm/sample/generate.h"
#include "ddpm/sample/sample_config.h"

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

namespace ddpm::sample {

/// Method "bespoke" before it is fitted: without weights it is DDIM.
bool needs_fit(const SampleConfig& config);

/// The exponents p of t = T x^p that a fit tries with spacing "power". Which is best depends on the
/// network: digits want small ones, photographs large ones (docs/sampling.md).
inline constexpr std::array kFitExponents{0.7, 0.85, 1.0, 1.15, 1.3, 1.5};

/// Whether a fit chooses among them.
bool tries_exponents(const SampleConfig& config);

/// The images that a fit to images of that size draws, and their network calls.
struct FitCost {
  int64_t images;
  int64_t calls;  ///< per image
};
FitCost cost_of_fit(const SampleConfig& config, const diffusion::Schedule& schedule,
                    const GenerateOptions& options);

/// Fits method "bespoke" to a network (docs/math.md, section 14): of each step of the config's plan,
/// the weights with which x_s comes nearest to a fine solution of the probability-flow ODE, by least
/// squares over differences of neighbouring pixels of some images of their own noise. The fine
/// solution is UniPC's with some 60 calls. With spacing "power" the plan is the one of kFitExponents
/// whose images come nearest, and the timesteps of the result are what counts (timestep_plan).
/// `options`: the images' size, the device, the dtype and before_batch; its images, seed and noise are
/// not read. Throws NotFinite, and Error if `options.progress` stops it.
std::vector<BespokeStep> fit_bespoke(const diffusion::Denoiser& denoiser,
                                     const diffusion::Diffusion& diffusion,
                                     const SampleConfig& config, const GenerateOptions& options);

}  // namespace ddpm::sample
