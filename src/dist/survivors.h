#pragma once

#include "rendezvous.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

// How ranks that lost others agree on who is left, through the store where all met.

namespace ddpm::dist {

/// A process says at regular intervals that it lives, whatever else it is busy with.
class Heartbeat {
 public:
  static constexpr std::chrono::milliseconds kInterval{500};

  /// `board` must not be used by anybody else. The first beat is done on return. `end_waits`: makes a
  /// call of the board fail that is under way.
  Heartbeat(std::unique_ptr<Board> board, int64_t member, std::function<void()> end_waits);
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

 private:
  void beat();

  std::unique_ptr<Board> board_;
  std::string key_;
  std::function<void()> end_waits_;
  std::mutex mutex_;
  std::condition_variable end_;
  bool ended_ = false;
  std::thread thread_;  // last
};

/// A member of a group that lost another one, and the last step that it has completed. A member keeps
/// the number of the rank that it was started as.
struct Survivor {
  int64_t member = 0;
  int64_t step = 0;

  bool operator==(const Survivor&) const = default;
};

/// How long to wait for members that do not come.
struct Patience {
  /// Without a heartbeat for so long, a member is lost.
  std::chrono::milliseconds silence{5000};
  /// For a member that lives but does not come.
  std::chrono::milliseconds absence{600000};
};

/// Who of `members` is left, the same list for all of them, in ascending order. Waits for those who
/// live. `generation`: 1 after the first loss, and one more each time; `own` is on the list. Throws
/// Error if the others went on without this one, and whatever `board` throws.
std::vector<Survivor> agree_on_survivors(Board& board, int64_t generation,
                                         const std::vector<int64_t>& members, const Survivor& own,
                                         const Patience& patience);

}  // namespace ddpm::dist
