#pragma once

#include "ddpm/config/fields.h"
#include "ddpm/diffusion/guidance.h"
#include "ddpm/diffusion/schedule.h"
#include "ddpm/sample/clip.h"
#include "ddpm/sample/timestep_plan.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace ddpm::sample {

/// Names of methods; methods.h has the table.
inline constexpr const char* kDdpm = "ddpm";  ///< Algorithm 2 (Ho 2020)
inline constexpr const char* kDdim = "ddim";  ///< Song 2021
/// All of them, in the order of the table.
std::vector<std::string> method_names();

/// The size of a step's noise.
enum class Sigma {
  kSmall,     ///< "small": sigma^2 = beta_tilde; for ddim, eta times sqrt(beta_tilde)
  kLarge,     ///< "large": sigma^2 = beta; ddpm only
  kHat,       ///< "hat": sigma^2 = beta over the mean of eta = 1; ddim only, and without eta
  kLearned,   ///< "learned": the network's own sigma (Nichol 2021, Eq. 15); ddpm only
  kAnalytic,  ///< "analytic": the optimal sigma, from posterior_variance (Bao 2022, Eq. 8)
};

/// The names in a config.
constexpr auto names_of(Sigma) {
  return std::array{"small", "large", "hat", "learned", "analytic"};
}

/// alpha_bar at the end of ddim's last step.
enum class LastAlpha {
  kOne,    ///< "one": 1, the finished image (diffusers' set_alpha_to_one = true)
  kFirst,  ///< "first": alpha_bar_1, an image with the noise of t = 1 left (= false)
};
constexpr auto names_of(LastAlpha) { return std::array{"one", "first"}; }

/// What method "bespoke" adds to DDIM's step from t to s: weights[0] x_t + weights[1] x0_hat +
/// weights[2] times x0_hat of the step before, and so on (bespoke_fit.h).
struct BespokeStep {
  int64_t t;
  int64_t s;
  std::vector<double> weights;
  bool operator==(const BespokeStep&) const = default;
};

/// [sample]: how to sample. The defaults are Ho's Algorithm 2 over all T steps. They remain
/// reasonable if only `steps` or `method` is changed: beta_tilde, because beta adds far too much
/// noise with few steps; leading, the spacing of DDIM's published figures and of diffusers; rederive,
/// which is Ho's clipping for ddpm and keeps ddim's x0_hat and eps_hat consistent.
struct SampleConfig {
  std::string method = kDdpm;           ///< a name of the table in methods.h
  int64_t steps = 0;                    ///< S, the network calls per image; 0 means all T
  int64_t order = 0;                    ///< of unipc, deis and ipndm; 0: the method's usual one
  double eta = 0.0;                     ///< ddim's noise, 0..1: 0 none, 1 as much as ddpm's
  Sigma sigma = Sigma::kSmall;          ///< see Sigma
  Spacing spacing = Spacing::kLeading;  ///< which S of the T steps; no matter where S = T
  std::vector<int64_t> steps_at = {};   ///< the t themselves, descending; empty: by spacing
  Stepping stepping = Stepping::kOwn;   ///< whose leading, trailing and linspace
  Clip clip = Clip::kRederive;  ///< what becomes of an x0_hat outside [-clip_range,clip_range]
  double clip_range = 1.0;
  double dynamic_threshold = 0.0;          ///< see ClipBound::quantile
  double dynamic_threshold_max = 0.0;      ///< see ClipBound::max
  int64_t steps_offset = 0;                ///< leading only: added to every t, at most up to T
  LastAlpha last_alpha = LastAlpha::kOne;  ///< ddim only
  diffusion::Guidance guidance;            ///< keys: guidance, guidance_interval, ...
  /// The mean of Var(x_0 | x_t) over pixels and data by t = 0..T (eval/posterior_variance.h); no key.
  /// Needed by Sigma::kAnalytic and Spacing::kOptimal.
  std::vector<double> posterior_variance = {};
  /// The fitted steps of method "bespoke"; no key.
  std::vector<BespokeStep> bespoke = {};
  int64_t num = 64;        ///< images to sample
  int64_t batch = 64;      ///< images at a time; does not change the images
  bool provenance = true;  ///< pictures say how they were made, in a text of their PNG

  bool operator==(const SampleConfig&) const = default;
};

/// Whether the config needs posterior_variance.
bool needs_posterior_variance(const SampleConfig& config);

ClipBound clip_bound(const SampleConfig& config);

/// The config's spacing (trailing instead of optimal), clipping and guidance with DDIM, eta 0, in
/// `steps` steps: for previews and measurements, which need no other settings.
SampleConfig with_ddim(SampleConfig config, int64_t steps);

/// Two settings that conflict, or one that the schedule does not allow.
struct Conflict {
  std::string key;      ///< of SampleConfig: "eta", "sigma", "steps"
  std::string message;  ///< "= 0.5 needs method ddim, ...": to stand behind the key's name
};

/// The first conflict in `config`, if any. steps is checked if T is given.
std::optional<Conflict> find_conflict(const SampleConfig& config,
                                      std::optional<int64_t> timesteps = std::nullopt);

/// The timesteps of sections of T, descending (Nichol 2021's code, space_timesteps): the T steps are
/// divided into equal sections, and counts[i] steps are taken evenly from the i-th. Throws UsageError
/// if a section is too small.
std::vector<int64_t> steps_of_sections(int64_t timesteps, const std::vector<int64_t>& counts);

/// The jumps of a config, steps = 0 meaning all T. Methods that call the network twice per jump have
/// fewer jumps than calls. See the other timestep_plan.
std::vector<PlanStep> timestep_plan(const diffusion::Schedule& schedule,
                                    const SampleConfig& config);

/// The keys of [sample].
void fields(config::Fields& f, SampleConfig& c);

/// Throws ConfigError, also for a conflict.
SampleConfig read_sample_config(config::Reader& reader);

/// The keys of [sample] that decide how an image looks: all but num and batch.
nlohmann::ordered_json image_settings(const SampleConfig& config);

/// "ddpm-1000", "ddim-50-eta-0.5", "ddpm-50-large-trailing", ...: method, steps, and every other
/// such setting that is not the default. For folder names.
std::string short_name(const SampleConfig& config);

}  // namespace ddpm::sample
