#include "job_queue.h"

#include <algorithm>
#include <random>
#include <utility>

#include <fmt/format.h>

namespace ddpm::serve {
namespace {

// Not to be guessed, and not repeated by the next server: a page may still hold ids of the last.
std::string new_id() {
  std::random_device device;
  const uint64_t high = device(), low = device();
  return fmt::format("{:016x}", high << 32 | low);
}

}  // namespace

JobQueue::JobQueue(const Limits& limits) : limits_(limits), thread_([this] { work(); }) {}

JobQueue::~JobQueue() { stop(); }

void JobQueue::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const auto& job : pending_) job->cancel();
    if (running_) running_->cancel();
  }
  added_.notify_all();
  if (thread_.joinable()) thread_.join();
}

int64_t JobQueue::waiting_locked() const {
  return std::count_if(pending_.begin(), pending_.end(),
                       [](const auto& job) { return !job->is_final(); });
}

std::shared_ptr<Job> JobQueue::add(int64_t num, std::unique_ptr<Task> task) {
  std::shared_ptr<Job> job = std::make_shared<Job>(new_id(), num, std::move(task));
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || waiting_locked() >= limits_.waiting) return nullptr;
    pending_.push_back(job);
    jobs_.push_back(job);
    drop_old_locked();
  }
  added_.notify_all();
  return job;
}

std::shared_ptr<Job> JobQueue::find(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto found =
      std::find_if(jobs_.begin(), jobs_.end(), [&](const auto& job) { return job->id() == id; });
  return found == jobs_.end() ? nullptr : *found;
}

std::vector<std::shared_ptr<Job>> JobQueue::all() const {
  const std::lock_guard lock(mutex_);
  return {jobs_.rbegin(), jobs_.rend()};
}

int64_t JobQueue::busy() const {
  const std::lock_guard lock(mutex_);
  return waiting_locked() + (running_ ? 1 : 0);
}

// Finished ones, the oldest first.
void JobQueue::drop_old_locked() {
  uint64_t bytes = 0;
  for (const auto& job : jobs_) bytes += job->bytes();
  for (auto job = jobs_.begin(); job != jobs_.end();) {
    if (jobs_.size() <= limits_.kept_jobs && bytes <= limits_.kept_bytes) return;
    if (!(*job)->is_final()) {
      ++job;
      continue;
    }
    bytes -= (*job)->bytes();
    job = jobs_.erase(job);
  }
}

void JobQueue::work() {
  for (;;) {
    std::shared_ptr<Job> job;
    {
      std::unique_lock lock(mutex_);
      running_ = nullptr;
      drop_old_locked();
      added_.wait(lock, [&] { return stopping_ || !pending_.empty(); });
      if (stopping_) return;
      job = pending_.front();
      pending_.pop_front();
      running_ = job;
    }
    job->run();
  }
}

}  // namespace ddpm::serve
