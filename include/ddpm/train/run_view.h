#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

// What a run's folder says about a training, read from outside of it.

namespace ddpm::train {

/// A run at one moment. Numbers that the run has not written yet are empty.
struct RunView {
  enum class State {
    kRunning,   ///< a process holds the run's lock
    kStopped,   ///< none does, and steps are left
    kFinished,  ///< all steps are done
  };
  State state = State::kStopped;
  int64_t step = 0;            ///< of the last line of metrics.jsonl
  int64_t steps = 0;           ///< train.steps
  std::optional<double> loss;  ///< mean of the last lines, as many as make 5 % of the steps so far
  std::optional<double> last_loss, holdout_loss, lr, grad_norm, images_per_s, data_wait, memory_mib,
      eta_s;
  std::optional<double> best_frechet;  ///< of quality.jsonl
  int64_t best_step = 0;
  std::optional<int64_t> checkpoint;  ///< step of the newest
  std::string last_message;  ///< last line of log.txt, without the date and the word "info"
  bool operator==(const RunView&) const = default;
};

/// Reads RUN/metrics.jsonl, config.toml, quality.jsonl, checkpoints, log.txt and run.lock. A line of
/// metrics that is still being written, or damaged, is left out. Throws IoError if it is not a run.
RunView view_of_run(const std::filesystem::path& run);

/// The view in lines of at most `width` columns: the bar, key numbers, checkpoints, the last message.
std::vector<std::string> to_lines(const RunView& view, const std::string& title, int width);
/// The view in one line, for a log: "step 1,250/2,000, loss 0.0512, 46.1 images/s, ETA 3 min 20 s".
std::string to_line(const RunView& view);

}  // namespace ddpm::train
