#include "rendezvous.h"

#include "ddpm/base/error.h"
#include "ddpm/base/host.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

namespace ddpm::dist {
namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;

constexpr Milliseconds kPoll{20};
// Rank 0's own server identifies itself immediately; torchrun's exists before rank 0.
constexpr Milliseconds kOwnServerAnswers{30000};

// Keys: here/r, the process of rank r; left, the number of ranks that have read the verdict.
const std::string kIdentity = "identity", kRefused = "refused", kStranger = "stranger",
                  kVerdict = "verdict", kLeft = "left";
// First line of a verdict. kGo: the accepted processes follow; else the reason why all stop.
const std::string kGo = "go", kUsage = "wrong settings", kFailure = "failure";

std::string here(int64_t rank) { return fmt::format("here/{}", rank); }
std::string place(const Launch& launch) {
  return fmt::format("{}:{}", launch.master_addr, launch.master_port);
}

// "process 4711 on node01"
std::string this_process() { return fmt::format("process {} on {}", ::getpid(), host_name()); }

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

// One fact per line, "name\tvalue"; an empty line separates run and settings.
std::string to_text(const Identity& identity) {
  std::string text;
  const auto add = [&](const Facts& facts) {
    for (const auto& [name, value] : facts) {
      std::string line = name + "\t" + value;
      std::replace(line.begin(), line.end(), '\n', ' ');
      text += line + "\n";
    }
  };
  add(identity.run);
  text += "\n";
  add(identity.settings);
  return text;
}

Identity identity_of(const std::string& text) {
  Identity identity;
  Facts* facts = &identity.run;
  for (const std::string& line : lines_of(text)) {
    if (line.empty()) {
      facts = &identity.settings;
      continue;
    }
    const size_t tab = std::min(line.find('\t'), line.size());
    (*facts)[line.substr(0, tab)] = tab < line.size() ? line.substr(tab + 1) : "";
  }
  return identity;
}

// "optimizer.lr is 0.001 on rank 0 and 1e-05 on rank 1", for each fact that differs.
std::string differences(const Facts& main, const std::string& of_main, const Facts& own,
                        const std::string& of_own) {
  constexpr size_t kShown = 4;
  Facts names = main;
  names.insert(own.begin(), own.end());
  std::vector<std::string> found;
  const auto value = [](const Facts& facts, const std::string& name) {
    const auto it = facts.find(name);
    return it == facts.end() || it->second.empty() ? std::string("not set") : it->second;
  };
  for (const auto& [name, unused] : names) {
    if (value(main, name) == value(own, name)) continue;
    found.push_back(fmt::format("{} is {} {} and {} {}", name, value(main, name), of_main,
                                value(own, name), of_own));
  }
  const size_t more = found.size() > kShown ? found.size() - kShown : 0;
  found.resize(found.size() - more);
  return fmt::format("{}{}", fmt::join(found, "; "),
                     more > 0 ? fmt::format("; and {} more", more) : "");
}

// Converted through text, as rank 0's identity is.
Identity normal(const Identity& identity) { return identity_of(to_text(identity)); }

// Rank 0, which receives the others.
class Host {
 public:
  Host(Board& board, const Launch& launch) : board_(board), launch_(launch) {}

  void receive(const Identity& identity, Milliseconds timeout) {
    board_.set(here(0), this_process());
    board_.set(kIdentity, to_text(identity));
    const auto deadline = Clock::now() + timeout;
    while (!all_here()) {
      if (board_.has(kRefused)) {
        const std::string why = board_.get(kRefused, timeout);
        publish(kUsage, why);
        throw UsageError(why);
      }
      warn_of_stranger();
      if (Clock::now() > deadline) {
        const std::string why = who_is_late(timeout);
        publish(kFailure, why);
        throw Error(why);
      }
      std::this_thread::sleep_for(kPoll);
    }
    std::string verdict = kGo;
    for (int64_t rank = 0; rank < launch_.world_size; ++rank)
      verdict += "\n" + board_.get(here(rank), timeout);
    board_.set(kVerdict, verdict);
  }

 private:
  bool all_here() {
    while (next_ < launch_.world_size && board_.has(here(next_))) ++next_;
    return next_ == launch_.world_size;
  }

  std::string who_is_late(Milliseconds timeout) {
    std::vector<int64_t> missing;
    for (int64_t rank = next_; rank < launch_.world_size; ++rank) {
      if (!board_.has(here(rank))) missing.push_back(rank);
    }
    return fmt::format(
        "rank 0 of {} waited up to {:g} s to meet the others at {}: rank {} did not come (were all "
        "started, and can they reach that machine?)",
        launch_.world_size, static_cast<double>(timeout.count()) / 1000.0, place(launch_),
        fmt::join(missing, ", "));
  }

  void warn_of_stranger() {
    if (warned_ || !board_.has(kStranger)) return;
    warned_ = true;
    spdlog::warn("a process of another run came to {} and was refused: {}", place(launch_),
                 board_.get(kStranger, kOwnServerAnswers));
  }

  // Tells all ranks why they stop. The server ends with this process: gives them time to read.
  void publish(const std::string& kind, const std::string& why) {
    board_.set(kVerdict, kind + "\n" + why);
    int64_t present = 0;
    for (int64_t rank = 1; rank < launch_.world_size; ++rank) present += board_.has(here(rank));
    const auto deadline = Clock::now() + std::chrono::seconds(2);
    while (board_.add(kLeft, 0) < present && Clock::now() < deadline)
      std::this_thread::sleep_for(kPoll);
  }

  Board& board_;
  const Launch& launch_;
  int64_t next_ = 1;  // all below are here
  bool warned_ = false;
};

Identity identity_of_main(Board& board, const Launch& launch, Milliseconds timeout) {
  if (launch.agent_store) return identity_of(board.get(kIdentity, timeout));
  try {
    return identity_of(board.get(kIdentity, std::min(timeout, kOwnServerAnswers)));
  } catch (const std::exception&) {
    throw Error(
        fmt::format("rank {} of {}: at {} another program answers, not rank 0 of this run; set "
                    "MASTER_PORT to a free port, the same for all processes",
                    launch.rank, launch.world_size, place(launch)));
  }
}

// Any other rank.
void come(Board& board, const Launch& launch, const Identity& identity, Milliseconds timeout) {
  const Identity main = identity_of_main(board, launch, timeout), own = normal(identity);
  const std::string rank = fmt::format("rank {}", launch.rank);
  if (main.run != own.run) {
    const std::string what = differences(main.run, "there", own.run, "here");
    board.set(kStranger, what);
    throw Error(fmt::format(
        "{} of {}: at {} is another run ({}); set MASTER_PORT to another port, the same "
        "for all processes of this run",
        rank, launch.world_size, place(launch), what));
  }
  if (main.settings != own.settings) {
    const std::string what = fmt::format(
        "{} was started with other settings than rank 0: {}; start all processes with "
        "the same command, data and program",
        rank, differences(main.settings, "on rank 0", own.settings, "on " + rank));
    board.set(kRefused, what);
    throw UsageError(what);
  }
  board.set(here(launch.rank), this_process());
  const std::string verdict = board.get(kVerdict, timeout);
  board.add(kLeft, 1);
  const std::vector<std::string> lines = lines_of(verdict);
  const std::string why = fmt::format("{} stops: {}", rank, lines.back());
  if (lines.front() == kUsage) throw UsageError(why);
  if (lines.front() == kFailure) throw Error(why);
  if (lines.at(static_cast<size_t>(launch.rank) + 1) != this_process()) {
    throw Error(fmt::format(
        "{} of {}: another process has this rank at {} ({}); give each rank once", rank,
        launch.world_size, place(launch), lines.at(static_cast<size_t>(launch.rank) + 1)));
  }
}

}  // namespace

void meet(Board& board, const Launch& launch, Identity identity, Milliseconds timeout) {
  identity.run["the launcher's job"] = launch.job;
  if (launch.rank == 0) {
    Host(board, launch).receive(identity, timeout);
  } else {
    come(board, launch, identity, timeout);
  }
}

}  // namespace ddpm::dist
