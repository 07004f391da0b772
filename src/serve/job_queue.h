#pragma once

#include "job.h"

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace ddpm::serve {

/// Runs jobs one at a time, in the order of their coming, in one thread: the only one that uses the
/// network. Keeps the last finished ones for their pictures.
class JobQueue {
 public:
  struct Limits {
    int64_t waiting = 8;                        ///< jobs, beside the one that runs
    size_t kept_jobs = 200;                     ///< finished
    uint64_t kept_bytes = uint64_t{256} << 20;  ///< of their pictures
  };

  explicit JobQueue(const Limits& limits);
  /// Cancels everything and waits for the present step.
  ~JobQueue();
  JobQueue(const JobQueue&) = delete;
  JobQueue& operator=(const JobQueue&) = delete;

  /// Null if too many jobs wait.
  std::shared_ptr<Job> add(int64_t num, std::unique_ptr<Task> task);
  /// Null if there is none of this id, or it was dropped to make room.
  std::shared_ptr<Job> find(const std::string& id) const;
  /// All that are kept, the newest first.
  std::vector<std::shared_ptr<Job>> all() const;
  /// Jobs that wait or run.
  int64_t busy() const;
  /// The same as the destructor; later calls do nothing.
  void stop();

 private:
  void work();
  int64_t waiting_locked() const;
  void drop_old_locked();

  const Limits limits_;
  mutable std::mutex mutex_;
  std::condition_variable added_;
  std::deque<std::shared_ptr<Job>> jobs_;     // all, in the order of their coming
  std::deque<std::shared_ptr<Job>> pending_;  // those that wait
  std::shared_ptr<Job> running_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace ddpm::serve
