#pragma once

#include "ddpm/serve/painter.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace ddpm::serve {

/// A task in the queue, with what it has made so far. All functions may be called by any thread.
class Job {
 public:
  enum class State { kQueued, kRunning, kDone, kFailed, kCancelled };

  Job(std::string id, int64_t num, std::unique_ptr<Task> task);

  const std::string& id() const { return id_; }
  /// Whether nothing changes any more.
  bool is_final() const;
  /// Bytes of its pictures.
  uint64_t bytes() const;

  /// {id, command, state, step, steps, images, num, preview: {url, first, t}, inputs: [{name, url}],
  /// settings, error, ...}.
  nlohmann::ordered_json to_json() const;
  /// A finished picture; null if it does not exist (yet).
  std::shared_ptr<const Png> image(int64_t i) const;
  /// A picture that the task was given, by its name; null if there is none.
  std::shared_ptr<const Png> input(const std::string& name) const;
  /// The newest x0 estimates; null before the first.
  std::shared_ptr<const Png> preview() const;

  /// Changes with to_json().
  uint64_t version() const;
  /// Waits until the version is another one, at most so long. Returns the version.
  uint64_t wait_for_change(uint64_t seen, std::chrono::milliseconds most) const;

  /// Asks for its end. A job that waits ends at once, one that runs after its present step.
  void cancel();
  /// Runs the task to its end, in the caller's thread, unless it was cancelled before.
  void run();

 private:
  struct Preview {
    std::shared_ptr<const Png> png;
    int64_t first = 0, t = 0, number = 0;
  };

  bool is_final_locked() const { return state_ >= State::kDone; }
  bool is_whole() const;
  TaskHooks hooks();
  void end(State state, const std::string& error);
  template <class Change>
  void change(const Change& change);

  struct Input {
    std::string name;
    std::shared_ptr<const Png> png;
  };

  const std::string id_;
  const int64_t num_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::unique_ptr<Task> task_;  // released at the end
  const std::string command_;
  const nlohmann::ordered_json settings_, source_;
  std::vector<Input> inputs_;  // never changes
  State state_ = State::kQueued;
  bool cancelled_ = false;
  uint64_t version_ = 1;
  TaskProgress progress_;
  std::vector<std::shared_ptr<const Png>> images_;
  Preview preview_;
  std::string error_;
  std::chrono::steady_clock::time_point began_;
  double seconds_ = 0;
};

/// "queued", "running", "done", "failed" or "cancelled".
const char* name_of(Job::State state);

}  // namespace ddpm::serve
