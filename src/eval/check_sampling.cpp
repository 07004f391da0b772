#include "check_sampling.h"

#include "check_chain.h"
#include "check_row.h"
#include "ddpm/base/rng.h"
#include "ddpm/diffusion/schedule.h"
#include "ddpm/kernels/elementwise.h"
#include "ddpm/sample/methods.h"
#include "ddpm/sample/reverse_process.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <torch/types.h>

namespace ddpm::eval {
namespace {

using diffusion::Diffusion;
using diffusion::Prediction;

constexpr const char* kPredictions = "predictions";
constexpr const char* kMethods = "methods";
constexpr const char* kRoundTrip = "round trip";
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr std::array kAllPredictions{Prediction::kEpsilon, Prediction::kX0,   Prediction::kMu,
                                     Prediction::kV,       Prediction::kFlow, Prediction::kEdm};

// Two configs whose images must be the same.
struct Equality {
  std::string name;
  sample::SampleConfig a, b;
};

std::vector<Equality> equalities(const CheckContext& context) {
  const auto config = [&](const std::string& method, int64_t steps, int64_t order) {
    sample::SampleConfig made = chain_config(context, method, steps);
    made.order = order;
    return made;
  };
  const int64_t s = context.options.steps;
  const sample::SampleConfig ddim = config(sample::kDdim, s, 0);
  sample::SampleConfig noisy = ddim;
  noisy.eta = 1.0;
  std::vector<Equality> all{
      {"ddim with eta 1 against ddpm (sigma small)", noisy, config(sample::kDdpm, s, 0)},
      {"euler against ddim", config("euler", s, 0), ddim},
      {"deis of order 1 against ddim", config("deis", s, 1), ddim},
      {"ipndm of order 1 against ddim", config("ipndm", s, 1), ddim}};
  for (const sample::MethodEntry& method : sample::methods())
    if (method.name != std::string(sample::kDdim))
      all.push_back({fmt::format("one step of {} against ddim", method.name),
                     config(method.name, 1, 0), config(sample::kDdim, 1, 0)});
  return all;
}

// x0 in [-1,1] that the network makes if its output is read as `reading`.
torch::Tensor own_samples(const CheckContext& context, const Diffusion& reading) {
  sample::SampleConfig config = chain_config(context, sample::kDdim, 0);
  config.steps = 0;
  config.steps_at = even_times(context.schedule(), context.options.steps);
  config.clip = sample::Clip::kRederive;
  return chain(context, context.subject.network, reading, config).clamp(-1, 1);
}

// Mean squared errors per pixel in units of v, which are of one size at every noise level.
struct ReadingError {
  double network = 0, nothing = 0;  ///< nothing: of v = 0, or of one grey for all images if less
  /// Even the best network leaves much of white noise images.
  bool explains() const { return network < 0.8 * nothing; }
};

ReadingError error_of(const CheckContext& context, Prediction prediction) {
  const diffusion::Schedule& schedule = context.schedule();
  const Diffusion reading(schedule,
                          {prediction, context.subject.diffusion.parameterization().data_std}),
      v(schedule, Prediction::kV);
  const torch::Tensor x0 = own_samples(context, reading);
  const auto ids = torch::arange(x0.size(0), torch::dtype(torch::kInt64).device(x0.device()));
  const RngKey key = rng_key(context.options.seed, Purpose::kEstimateNoise);
  ReadingError error;
  constexpr double kLowest = -1.5;  // below, an eps says too little of the image
  for (const int64_t time : even_times(schedule, 8)) {
    if (diffusion::half_log_snr(schedule, time) < kLowest) continue;
    const torch::Tensor t = torch::full_like(ids, time), eps = torch::empty_like(x0);
    kernels::fill_normal_(eps, key, ids, static_cast<uint32_t>(time));
    const torch::Tensor x_t = reading.noised(x0, t, eps), right = v.target(x0, eps, x_t, t);
    const diffusion::Estimate said = reading.estimate(context.subject.network(x_t, t), x_t, time);
    error.network += (v.target(said.x0, said.eps, x_t, t) - right).square().mean().item<double>();
    const double grey =
        (x0 - x0.mean()).square().mean().item<double>() / schedule.one_minus_alpha_bar(time);
    error.nothing += std::min(right.square().mean().item<double>(), grey);
  }
  return error;
}

double psnr_of(double error) { return 20 * std::log10(2.0 / error); }

}  // namespace

diffusion::Denoiser restated(const diffusion::Denoiser& network, const Diffusion& diffusion,
                             Prediction prediction) {
  return [=, as = Diffusion(diffusion.schedule(), prediction)](const torch::Tensor& x_t,
                                                               const torch::Tensor& t) {
    const diffusion::Estimate said = diffusion.estimate(network(x_t, t), x_t, t);
    return as.target(said.x0, said.eps, x_t, t);
  };
}

std::vector<CheckRow> prediction_rows(const CheckContext& context) {
  const CheckSubject& subject = context.subject;
  const sample::SampleConfig config = chain_config(context, sample::kDdim, context.options.steps);
  const torch::Tensor own = chain(context, subject.network, subject.diffusion, config);
  std::vector<CheckRow> rows;
  for (const Prediction other : kAllPredictions) {
    if (other == subject.diffusion.prediction()) continue;
    const std::string name =
        fmt::format("{} steps of DDIM, restated as {}", config.steps, config::to_string(other));
    if (diffusion::divides_by_signal(other) && !diffusion::has_signal_at_last(context.schedule())) {
      rows.push_back(left_out(kPredictions, name, "alpha_bar_T = 0: there x_T says nothing of it"));
      continue;
    }
    const diffusion::Denoiser network =
        context.parts.restate(subject.network, subject.diffusion, other);
    const torch::Tensor image =
        chain(context, network, Diffusion(context.schedule(), other), config);
    rows.push_back(deviation(kPredictions, name, context.rounding(), largest_difference(image, own),
                             "the conversions between eps, x0, mu and v disagree"));
  }
  return rows;
}

std::vector<CheckRow> method_rows(const CheckContext& context) {
  const CheckSubject& subject = context.subject;
  std::vector<CheckRow> rows;
  for (const Equality& equal : equalities(context)) {
    const torch::Tensor a = chain(context, subject.network, subject.diffusion, equal.a);
    const torch::Tensor b = chain(context, subject.network, subject.diffusion, equal.b);
    rows.push_back(deviation(kMethods, equal.name, context.rounding(), largest_difference(a, b),
                             "a sampler's weights are wrong"));
  }
  return rows;
}

std::vector<CheckRow> round_trip_rows(const CheckContext& context) {
  const CheckSubject& subject = context.subject;
  const int64_t fine = std::min(4 * context.options.steps, context.schedule().timesteps()) / 2 * 2;
  const char* name = "order of the error";
  if (fine < 8)
    return {left_out(kRoundTrip, name, "the schedule has too few timesteps to compare two chains")};
  const auto config = [&](int64_t steps) { return chain_config(context, sample::kDdim, steps); };
  const torch::Tensor x0 = chain(context, subject.network, subject.diffusion, config(fine));
  std::vector<CheckRow> rows;
  std::vector<double> errors;
  for (const int64_t steps : {fine / 2, fine}) {
    CheckSubject from = subject;
    from.x_T = context.parts.encode(subject.network, subject.diffusion, config(steps), x0);
    const CheckContext back{from, context.options, context.parts};
    const torch::Tensor image = chain(back, subject.network, subject.diffusion, config(steps));
    errors.push_back(rms(image - x0));
    rows.push_back(noted(kRoundTrip, fmt::format("PSNR in dB, {} steps", steps), kNone,
                         psnr_of(errors.back())));
  }
  const double order = std::log2(errors[0] / errors[1]);
  if (errors[1] < context.rounding() / 10)
    rows.push_back(noted(kRoundTrip, name, 1, order, "the error is that of rounding"));
  else
    rows.push_back(judged(kRoundTrip, name, 1, 0.3, std::numeric_limits<double>::infinity(), order,
                          "more steps must bring the image back more exactly: take more --steps; "
                          "if that does not help, the network's flow is not smooth"));
  return rows;
}

namespace {

// Predictions whose networks read what one of `stated` reads: an output says nothing of others.
std::vector<Prediction> with_the_input_of(Prediction stated) {
  if (stated == Prediction::kFlow || stated == Prediction::kEdm) return {stated};
  return {Prediction::kEpsilon, Prediction::kX0, Prediction::kMu, Prediction::kV};
}

}  // namespace

std::vector<CheckRow> reading_rows(const CheckContext& context) {
  const Prediction stated = context.subject.diffusion.prediction();
  const std::string name =
      fmt::format("error if read as {}, over the best reading", config::to_string(stated));
  ReadingError own, best{std::numeric_limits<double>::infinity(), 1};
  Prediction best_name = stated;
  for (const Prediction prediction : with_the_input_of(stated)) {
    ReadingError error;
    try {
      error = error_of(context, prediction);
    } catch (const sample::NotFinite&) {  // a wrong reading can do so
      error.network = std::numeric_limits<double>::infinity();
    }
    if (prediction == stated) own = error;
    if (error.explains() && error.network < best.network) best = error, best_name = prediction;
  }
  constexpr double kMaxRatio = 2;
  double found = own.network / best.network;
  // Images of one grey have no error, but explain nothing.
  if (!own.explains() && found <= kMaxRatio) found = std::numeric_limits<double>::infinity();
  if (!best.explains())
    return {noted(kPredictions, name, 1, kNone,
                  "no reading explains the network's samples: it is hardly trained")};
  return {judged(kPredictions, name, 1, 0, kMaxRatio, found,
                 fmt::format("the network seems to predict {}, not {}: correct "
                             "diffusion.prediction, or convert with --prediction",
                             config::to_string(best_name), config::to_string(stated)))};
}

}  // namespace ddpm::eval
