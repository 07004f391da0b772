#include "ddpm/base/clock.h"
#include "ddpm/base/text.h"
#include "json_lines.h"
#include "share.h"
#include "training_run.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

// A training run that loses ranks and goes on with the others (run.on_lost_rank = "shrink").
//
// A step updates the weights only when all its sums are complete on this rank (Learner::step_), and
// no rank begins the next step before all have completed this one, as all agree on it first. So those
// who are left have completed the same step, or differ by one. Who is behind receives the state.

namespace ddpm::train {

// Until the end, whatever number of ranks are lost on the way.
TrainOutcome TrainingRun::go_on() {
  for (;;) {
    try {
      if (interrupted_) regroup();
      if (world_.size() < experiment_.run.min_ranks) return stop_with_too_few();
      return train();
    } catch (const dist::RankLost& error) {
      interrupted_ = true;
      reporter_.clear_progress();
      spdlog::debug("step {}: {}", state_.step, error.what());
    } catch (const dist::NoAgreement& error) {
      return stop_alone(error.what());
    }
  }
}

// Brings those who are left to the same step and divides the batch among them. If another rank is
// lost on the way, it is called again.
void TrainingRun::regroup() {
  reporter_.note_progress("a process is lost");
  dist::Regrouped now = shrinking_world_->regroup_(state_.step);
  std::move(now.lost.begin(), now.lost.end(), std::back_inserter(lost_));
  if (now.step > state_.step + 1) {
    throw Error(
        fmt::format("rank {} completed step {}, and another one step {}: they cannot go on "
                    "together",
                    world_.started_as(), state_.step, now.step));
  }
  const bool behind = now.step > state_.step;
  learner_.regroup_(now.from, behind);
  if (behind) {
    ++state_.step;
    state_.samples_seen += experiment_.train.batch_size;
  }
  state_.world_size = world_.size();
  const bool was_writing = is_writing_;
  world_.on_main("continue the run's folder", [&] {
    if (!is_writing_) become_main();
    report_losses();
  });
  lost_.clear();
  loader_.reset();  // first: both would hold decoded images
  loader_ = open_batches(experiment_, *data_.training, device_, world_);
  loader_->seek(state_.step);
  if (finished_step_ < state_.step) after_step(/*measure=*/false);
  if (is_writing_ && !was_writing) finish_for_former_main();
  interrupted_ = false;
}

// Takes the run's folder over from a rank 0 that is lost.
void TrainingRun::become_main() {
  lock_folder();
  if (become_main_) become_main_();
  saver_.take_over();
  reporter_.take_over(std::min(state_.step, finished_step_), *data_.training, data_.held_out.get());
  quality_ = std::make_unique<QualityLog>(run_, state_.step);
  signal_.ask(kHowItStops);
  is_writing_ = true;
}

// The system frees the lock of a killed process, but not at once. One that hangs keeps it.
void TrainingRun::lock_folder() {
  constexpr double kPatience = 5.0;  // s
  const auto begin = Clock::now();
  while (!lock_) {
    try {
      lock_ = std::make_unique<checkpoint::RunLock>(run_);
    } catch (const IoError&) {
      if (seconds_since(begin) > kPatience) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
}

// What the former rank 0 may have left undone after the last step. A checkpoint is made in any case:
// the one that it was writing is lost.
void TrainingRun::finish_for_former_main() {
  if (state_.step == first_step_) return;
  const auto due = [&](int64_t every) { return every > 0 && state_.step % every == 0; };
  if (due(experiment_.train.sample_every) && !reporter_.has_samples(state_.step))
    reporter_.draw_samples(state_.step);
  const std::vector<int64_t> stored = snapshots_.steps();
  if (due(experiment_.ema.snapshot_interval(experiment_.train.steps)) &&
      std::find(stored.begin(), stored.end(), state_.step) == stored.end())
    store_averages();
  save();
}

// On rank 0.
void TrainingRun::report_losses() {
  const int64_t ranks = world_.size(), batch = experiment_.train.batch_size;
  const std::string who = lost_.empty() ? "the connections broke, but nobody is"
                                        : fmt::format("{} {}", fmt::join(lost_, ", "),
                                                      lost_.size() == 1 ? "is" : "are");
  const int64_t writer = world_.started_as();
  spdlog::warn("step {}: {} lost; the run goes on with {}, {}{}", state_.step, who,
               counted(ranks, "rank"), describe_shares(batch, ranks),
               writer == 0 ? "" : fmt::format("; rank {} writes it", writer));
  std::vector<int64_t> images;
  for (int64_t rank = 0; rank < ranks; ++rank) images.push_back(share_of(batch, rank, ranks).count);
  or_warn([&] {
    append_line(run_ / "events.jsonl", {{"step", state_.step},
                                        {"event", "lost_ranks"},
                                        {"lost", lost_},
                                        {"ranks", ranks},
                                        {"images", images},
                                        {"written_by", writer}});
  });
}

TrainOutcome TrainingRun::stop_with_too_few() {
  reporter_.clear_progress();
  if (state_.step > first_step_) {
    save();
    finish_save();
    if (saver_.saved_step() < state_.step)
      throw IoError(run_, "has too few ranks left, and its checkpoint could not be saved");
  }
  spdlog::warn(
      "step {}: {} left, fewer than run.min_ranks = {}; saved; run the same command to continue",
      state_.step, world_.size() == 1 ? "1 rank is" : fmt::format("{} ranks are", world_.size()),
      experiment_.run.min_ranks);
  return TrainOutcome::kStopped;
}

// Nobody knows who else is left. The first to have the run's lock saves.
TrainOutcome TrainingRun::stop_alone(const std::string& why) {
  reporter_.clear_progress();
  const std::string lost =
      fmt::format("step {}: rank 0, at which the ranks meet, is lost ({})", state_.step, why);
  try {
    if (!is_writing_) become_main();
  } catch (const IoError& error) {
    spdlog::error("{}; rank {} saves nothing: {}", lost, world_.started_as(), error.what());
    return TrainOutcome::kStopped;
  }
  if (state_.step == experiment_.train.steps) return finish();
  if (state_.step > first_step_) {
    save();
    finish_save();
    if (saver_.saved_step() < state_.step)
      throw IoError(run_, "has lost its rank 0, and its checkpoint could not be saved");
  }
  spdlog::warn("{}; rank {} has saved; run the same command to continue", lost,
               world_.started_as());
  return TrainOutcome::kStopped;
}

}  // namespace ddpm::train
