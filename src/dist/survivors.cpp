#include "survivors.h"

#include "ddpm/base/error.h"

#include <algorithm>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include <fmt/format.h>

namespace ddpm::dist {
namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;

constexpr Milliseconds kAnswer{30000};  // what exists is given at once

std::string beats_of(int64_t member) { return fmt::format("beats/{}", member); }

std::string to_text(const std::vector<Survivor>& survivors) {
  std::string text;
  for (const Survivor& s : survivors) text += fmt::format("{} {}\n", s.member, s.step);
  return text;
}

std::vector<Survivor> survivors_of(const std::string& text) {
  std::vector<Survivor> survivors;
  std::istringstream lines(text);
  for (Survivor s; lines >> s.member >> s.step;) survivors.push_back(s);
  return survivors;
}

// What one member sees of the others until all who live have come.
class Roll {
 public:
  Roll(Board& board, int64_t generation, const std::vector<int64_t>& members,
       const Patience& patience)
      : board_(board), prefix_(fmt::format("lost/{}/", generation)), patience_(patience) {
    for (const int64_t member : members) others_[member] = {};
  }

  // Returns this member's place in the order of arrival, 1 and up.
  int64_t come(const Survivor& own) {
    board_.set(here(own.member), std::to_string(own.step));
    return board_.add(prefix_ + "arrived", 1);
  }

  // Those who have come and live, if nobody else is to be waited for.
  std::optional<std::vector<Survivor>> complete() {
    for (auto& [member, seen] : others_) look(member, seen);  // all, to know who is silent
    std::vector<Survivor> present;
    for (const auto& [member, seen] : others_) {
      const bool silent = Clock::now() - seen.changed >= patience_.silence;
      const bool absent = Clock::now() - begin_ >= patience_.absence;
      if (!seen.step && !silent && !absent) return std::nullopt;
      // One that came and fell silent is lost too. One that does not come in time is left behind.
      if (seen.step && !silent) present.push_back({member, *seen.step});
    }
    return present;
  }

  std::string verdict_key() const { return prefix_ + "verdict"; }

 private:
  struct Seen {
    int64_t beats = -1;
    Clock::time_point changed = Clock::now();
    std::optional<int64_t> step;  // if it has come
  };

  std::string here(int64_t member) const { return fmt::format("{}here/{}", prefix_, member); }

  void look(int64_t member, Seen& seen) {
    const int64_t beats = board_.add(beats_of(member), 0);
    if (beats != seen.beats) seen = {beats, Clock::now(), seen.step};
    if (!seen.step && board_.has(here(member)))
      seen.step = std::stoll(board_.get(here(member), kAnswer));
  }

  Board& board_;
  std::string prefix_;
  Patience patience_;
  Clock::time_point begin_ = Clock::now();
  std::map<int64_t, Seen> others_;
};

}  // namespace

Heartbeat::Heartbeat(std::unique_ptr<Board> board, int64_t member, std::function<void()> end_waits)
    : board_(std::move(board)), key_(beats_of(member)), end_waits_(std::move(end_waits)) {
  board_->add(key_, 1);
  thread_ = std::thread([this] { beat(); });
}

Heartbeat::~Heartbeat() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  end_.notify_all();
  end_waits_();
  thread_.join();
}

// Without the store nobody hears it: then it is the matter of the next agreement.
void Heartbeat::beat() {
  std::unique_lock lock(mutex_);
  while (!end_.wait_for(lock, kInterval, [this] { return ended_; })) {
    lock.unlock();
    try {
      board_->add(key_, 1);
    } catch (const std::exception&) {
      return;
    }
    lock.lock();
  }
}

// The first verdict that reaches the store holds. Who came first looks the most often, so that the
// store is not flooded, and those after it stand in if it dies. They also leave it the first look: it
// knows best who is silent.
std::vector<Survivor> agree_on_survivors(Board& board, int64_t generation,
                                         const std::vector<int64_t>& members, const Survivor& own,
                                         const Patience& patience) {
  constexpr Milliseconds kPoll{50};
  Roll roll(board, generation, members, patience);
  const int64_t place = roll.come(own);
  const auto between = kPoll * place;
  auto next = Clock::now() + (place == 1 ? Milliseconds(0) : between);
  while (!board.has(roll.verdict_key())) {
    if (Clock::now() >= next) {
      if (const auto present = roll.complete()) {
        board.propose(roll.verdict_key(), to_text(*present));
        break;
      }
      next = Clock::now() + between;
    }
    std::this_thread::sleep_for(kPoll);
  }
  const auto survivors = survivors_of(board.get(roll.verdict_key(), kAnswer));
  if (std::find(survivors.begin(), survivors.end(), own) == survivors.end()) {
    throw Error(fmt::format(
        "rank {} was not heard of in time: the other ranks go on without it, so it ends",
        own.member));
  }
  return survivors;
}

}  // namespace ddpm::dist
