#pragma once

#include "ddpm/config/names.h"
#include "ddpm/diffusion/diffusion.h"
#include "ddpm/diffusion/guidance.h"
#include "ddpm/eval/posterior_variance.h"
#include "ddpm/nn/precision.h"

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

enum class Verdict {
  kOk,       ///< "ok": the number is as it should be
  kFailed,   ///< "FAILED"
  kNoted,    ///< "info": a number without a limit, or one that says nothing here
  kLeftOut,  ///< "left out": this network or schedule does not have it
};
constexpr auto names_of(Verdict) { return std::array{"ok", "FAILED", "info", "left out"}; }

/// One number of a self-check (docs/math.md, "Self-checks"). NaN: there is none.
struct CheckRow {
  std::string group;  ///< "schedule", "network", "orders", ...
  std::string name;   ///< what was measured
  /// What the mathematics gives.
  double expected = std::numeric_limits<double>::quiet_NaN();
  double low = -std::numeric_limits<double>::infinity();  ///< allowed, both ends included
  double high = std::numeric_limits<double>::infinity();
  double found = std::numeric_limits<double>::quiet_NaN();
  Verdict verdict = Verdict::kNoted;
  std::string note = {};  ///< why it was left out, or what a failure means
};

/// A network in its parts, as `ddpm check` measures it. All denoisers take batches of 1 to N images
/// with float64 x_t; row i always has the same class.
struct CheckSubject {
  diffusion::Diffusion diffusion;
  diffusion::Denoiser network;                     ///< as samplers call it
  nn::Precision precision = nn::Precision::kFp32;  ///< its arithmetic: decides tolerances
  /// The noise that samples begin with: float64 [N,C,H,W], N >= 2, on the network's device.
  torch::Tensor x_T;

  // What not every network has.
  diffusion::Denoiser other_class = {};  ///< the same with other classes; empty: no classes
  diffusion::Denoiser null_class = {};   ///< the same without classes; empty: no null class
  /// The guided network as samplers call it; empty: no null class.
  std::function<diffusion::Denoiser(const diffusion::Guidance&)> guided = {};
  diffusion::Denoiser in_float64 = {};  ///< the same weights; empty: not compared
  diffusion::Denoiser in_bfloat16 = {};
  std::optional<PosteriorVariance> variance = {};  ///< measured with these weights
  std::string no_variance = {};                    ///< why there is none, and how to get it
};

struct CheckOptions {
  int64_t steps = 10;  ///< S of the chains; orders are measured with S and 2 S. 2 or more
  uint64_t seed = 0;   ///< of the steps' noise
  /// Called before each part: its title and how many of all parts are done.
  std::function<void(const std::string& title, int64_t done, int64_t total)> progress = {};
};

/// Verifies identities of the mathematics on this network and schedule. About 80 S + 80 network
/// calls of N images. A part that throws sample::NotFinite is a failed row.
std::vector<CheckRow> run_self_check(const CheckSubject& subject, const CheckOptions& options);

/// "0", ">= 0.5", "<= 1e-12", "0.95 .. 1.05": what is allowed, for people.
std::string allowed_text(const CheckRow& row);
/// The rows as a table, with a line below each row that has a note to read.
std::string to_text(const std::vector<CheckRow>& rows);
std::vector<CheckRow> failures(const std::vector<CheckRow>& rows);

}  // namespace ddpm::eval
