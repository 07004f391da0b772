#include "parallel.h"

#include "ddpm/base/progress.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

namespace ddpm::data {
namespace {

// Shared by the threads. Indices are taken in order: all below a failed one have started and will
// finish, so the lowest failure is found independently of timing.
struct Shared {
  std::atomic<int64_t> next = 0;
  std::atomic<int64_t> done = 0;
  std::atomic<bool> failed = false;
  std::mutex mutex;  // guards the members below
  std::condition_variable ended;
  int64_t running = 0;
  int64_t failed_at = std::numeric_limits<int64_t>::max();
  std::exception_ptr error;
};

}  // namespace

void parallel_for(int64_t count, int64_t workers, const std::string& title,
                  const std::function<void(int64_t, int64_t)>& work) {
  workers = std::clamp<int64_t>(workers, 1, std::max<int64_t>(count, 1));
  Shared shared;
  shared.running = workers;
  const auto run = [&](int64_t worker) {
    while (!shared.failed) {
      const int64_t i = shared.next++;
      if (i >= count) break;
      try {
        work(worker, i);
      } catch (...) {
        const std::lock_guard lock(shared.mutex);
        shared.failed = true;
        if (i < shared.failed_at) {
          shared.failed_at = i;
          shared.error = std::current_exception();
        }
      }
      ++shared.done;
    }
    const std::lock_guard lock(shared.mutex);
    --shared.running;
    shared.ended.notify_one();
  };
  std::vector<std::thread> threads;
  for (int64_t worker = 0; worker < workers; ++worker) threads.emplace_back(run, worker);

  {
    std::unique_lock lock(shared.mutex);
    const auto all_ended = [&] { return shared.running == 0; };
    if (!shared.ended.wait_for(lock, std::chrono::seconds(1), all_ended)) {
      Progress progress(title, count);
      do {
        progress.update(shared.done);
      } while (!shared.ended.wait_for(lock, std::chrono::milliseconds(200), all_ended));
      progress.clear();
    }
  }
  for (std::thread& thread : threads) thread.join();
  if (shared.error) std::rethrow_exception(shared.error);
}

}  // namespace ddpm::data
