#include "ddpm/base/text.h"
#include "ddpm/train/suggest.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

namespace ddpm::train {
namespace {

// The rest of the time is for the start, the checkpoints, and other work of the machine.
constexpr double kTrainingShare = 0.93;
constexpr double kGridShare = 0.1, kHoldoutShare = 0.05;
constexpr int64_t kMaxSteps = 800000;  // Ho 2020 on CIFAR-10
constexpr double kSaveAfter = 300.0;   // seconds
constexpr double kEmaShare = 0.05;     // of the steps, which the EMA averages over
constexpr double kMaxEma = 0.9999;
constexpr double kMeasuredImages =
    36.0;  // in the network call of a dry run: suggest's sample_count
constexpr int64_t kFewSamples = 16;

int64_t enough_steps(const Facts& f) { return f.gpu ? 20000 : 1500; }

double usable_seconds(const Facts& f) { return kTrainingShare * 60.0 * f.minutes; }

// Two digits: the third would say more than is known.
int64_t two_digits(double value) {
  if (value < 1.0) return 1;
  const double unit = std::pow(10.0, std::max(0.0, std::floor(std::log10(value)) - 1.0));
  return static_cast<int64_t>(std::floor(value / unit) * unit);
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Seconds that a training spends.
struct Costs {
  double step;     // of a step whose images are decoded
  double reading;  // of a step whose images are not
  double grid;     // of sample grids from the raw weights and the average
  double holdout;  // of a held-out loss
  int64_t epoch;   // steps whose images must be decoded first
};

Costs costs_of(const Suggestion& s, const Facts& f, const DryRunReport& r) {
  const Experiment& e = s.experiment;
  const data::ImageSize size = e.data.image_size.value();
  const auto image_bytes = static_cast<double>(e.data.channels * size.height * size.width);
  const bool kept = image_bytes * static_cast<double>(f.count) <=
                    static_cast<double>(e.data.cache_mb) * (1 << 20);
  const double call = r.forward_s / kMeasuredImages;  // of one image
  return {.step = r.step_s,
          .reading = std::max(r.step_s, r.batch_s),
          .grid = static_cast<double>(2 * e.train.sample_steps * e.train.sample_count) * call,
          .holdout = static_cast<double>(e.data.holdout) * call,
          .epoch = kept ? ceil_div(f.count, e.train.batch_size) : kMaxSteps};
}

double seconds_of(const Costs& c, int64_t steps) {
  const int64_t first = std::min(steps, c.epoch);
  return static_cast<double>(first) * c.reading + static_cast<double>(steps - first) * c.step;
}

// The steps that `seconds` allow: the inverse of seconds_of.
double steps_in(const Costs& c, double seconds) {
  const double first = static_cast<double>(c.epoch) * c.reading;
  return seconds <= first ? seconds / c.reading
                          : static_cast<double>(c.epoch) + (seconds - first) / c.step;
}

// The most of 10, 5, 4, 2 and 1 that cost at most `budget`; 0 if one costs more.
int64_t most_times(double cost, double budget) {
  for (const int64_t times : std::array{10, 5, 4, 2, 1}) {
    if (static_cast<double>(times) * cost <= budget) return times;
  }
  return 0;
}

// 1 - 1 / (share of the steps), 1 - decay with one digit.
double ema_decay(int64_t steps) {
  const double rest = std::min(0.5, 1.0 / (kEmaShare * static_cast<double>(steps)));
  const double unit = std::pow(10.0, std::floor(std::log10(rest)));
  const double decay = std::min(kMaxEma, 1.0 - std::round(rest / unit) * unit);
  return std::round(1e6 * decay) / 1e6;
}

void set_rhythm_(Suggestion& s, const Facts& f, double step_s) {
  Experiment& e = s.experiment;
  const int64_t steps = e.train.steps;
  e.train.log_every = std::clamp<int64_t>(steps / 40, 1, f.gpu ? 100 : 50);
  e.train.checkpoint_every =
      std::max<int64_t>(1, std::min(ceil_div(steps, 4), two_digits(kSaveAfter / step_s)));
  e.optimizer.warmup_steps = std::clamp<int64_t>(steps / 20, 1, f.gpu ? 2000 : 200);
  e.ema.decays = {ema_decay(steps)};
  s.reasons.push_back(
      {"optimizer.warmup_steps", "a twentieth of the steps, as the presets or less"});
  s.reasons.push_back(
      {"ema.decay", "the samples' weights are averaged over about a twentieth of the steps"});
  s.reasons.push_back(
      {"train.checkpoint_every",
       fmt::format("{}: what a crash may cost",
                   format_duration(step_s * static_cast<double>(e.train.checkpoint_every)))});
}

void warn_of_few_steps_(Suggestion& s, const Facts& f) {
  const int64_t steps = s.experiment.train.steps, enough = enough_steps(f);
  if (steps >= enough) return;
  const double minutes = f.minutes * static_cast<double>(enough) / static_cast<double>(steps);
  s.warnings.push_back(
      fmt::format("{} are few: the images will be blurred; --minutes {:.0f} gives {}",
                  counted(steps, "step"), 10.0 * std::ceil(minutes / 10.0), with_commas(enough)));
}

}  // namespace

int64_t affordable_size(const Suggestion& s, const Facts& f, const DryRunReport& r) {
  const int64_t size = s.experiment.data.image_size.value().height;
  const int64_t least = f.gpu ? 48 : 24;
  if (f.asked_size || size <= least) return size;
  const double pixels = usable_seconds(f) / (r.step_s * static_cast<double>(enough_steps(f))) *
                        static_cast<double>(size * size);
  const auto limit = static_cast<int64_t>(std::sqrt(pixels));
  return std::min(size, std::max(least, usual_size(f.sizes, std::min(size, limit))));
}

void fit_to_time_(Suggestion& s, const Facts& f, const DryRunReport& r) {
  TrainConfig& train = s.experiment.train;
  const double seconds = usable_seconds(f);
  if (most_times(costs_of(s, f, r).grid, kGridShare * seconds) < 4)
    train.sample_count = kFewSamples;
  const Costs c = costs_of(s, f, r);
  const int64_t grids = most_times(c.grid, kGridShare * seconds);
  const int64_t looks = std::max<int64_t>(1, most_times(c.holdout, kHoldoutShare * seconds));
  const double left =
      seconds - static_cast<double>(grids) * c.grid - static_cast<double>(looks) * c.holdout;
  const double possible = steps_in(c, std::max(left, 0.5 * seconds));
  train.steps = std::min(kMaxSteps, two_digits(possible));
  train.sample_every = grids == 0 ? 0 : ceil_div(train.steps, grids);
  train.holdout_every = ceil_div(train.steps, looks);
  s.reasons.push_back({"train.sample_every",
                       grids == 0
                           ? "no sample grids during training: there is not the time for them"
                           : fmt::format("{} during training", counted(grids, "sample grid"))});
  set_rhythm_(s, f, seconds_of(c, train.steps) / static_cast<double>(train.steps));
  const auto images = static_cast<double>(train.steps * train.batch_size);
  s.reasons.push_back(
      {"train.steps",
       fmt::format("{} a step, {} times through the pictures{}", format_duration(r.step_s),
                   three_digits(images / static_cast<double>(f.count)),
                   possible > static_cast<double>(kMaxSteps) ? "; more would hardly help" : "")});
  warn_of_few_steps_(s, f);
}

double suggested_seconds(const Suggestion& s, const Facts& f, const DryRunReport& r) {
  const TrainConfig& train = s.experiment.train;
  const Costs c = costs_of(s, f, r);
  const auto times = [&](int64_t every) {
    return every == 0 ? 0.0 : static_cast<double>(train.steps / every);
  };
  return seconds_of(c, train.steps) + times(train.sample_every) * c.grid +
         times(train.holdout_every) * c.holdout;
}

}  // namespace ddpm::train
