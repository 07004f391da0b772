#include "saver.h"

#include "ddpm/base/text.h"

#include <algorithm>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace ddpm::train {

Saver::Saver(const std::filesystem::path& directory, const checkpoint::RetentionPolicy& policy,
             bool background, Deadline& deadline, std::function<void()> before_line)
    : store_(directory, policy),
      background_(background),
      deadline_(deadline),
      before_line_(std::move(before_line)),
      writer_(store_) {}

void Saver::take_over() {
  store_.clean();
  const auto newest = store_.newest_valid();
  handed_over_ = newest ? checkpoint::read_training_state(*newest).step : -1;
  saved_step_ = std::max(saved_step_, handed_over_);
}

bool Saver::begin(int64_t step) {
  if (step <= handed_over_) return false;
  handed_over_ = step;
  return true;
}

void Saver::start(checkpoint::CheckpointContent content) {
  writer_.start(std::move(content));
  if (!background_) wait();
}

void Saver::collect(const std::optional<checkpoint::SaveOutcome>& outcome) {
  if (!outcome) return;
  before_line_();
  deadline_.saw_save(outcome->seconds);
  if (outcome->ok()) {
    saved_step_ = outcome->step;
    failures_ = 0;
    std::string beside;
    if (times_.saving.steps > 0 && times_.otherwise.steps > 0) {
      beside = fmt::format("; steps took {} instead of {}", format_duration(times_.saving.value()),
                           format_duration(times_.otherwise.value()));
    }
    spdlog::info("step {}: saved {}{} ({}{})", outcome->step, outcome->folder.string(),
                 background_ ? " in the background" : "", format_duration(outcome->seconds),
                 beside);
  } else {
    ++failures_;
    spdlog::error("step {}: the checkpoint could not be saved: {} (earlier ones are untouched)",
                  outcome->step, outcome->problem);
  }
  times_ = {};
}

}  // namespace ddpm::train
