#include "src/dist/survivors.h"

#include "ddpm/base/error.h"
#include "tests/dist/memory_board.h"

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace ddpm::dist {
namespace {

using namespace std::chrono_literals;

// A board of one process that others share.
class SharedBoard : public Board {
 public:
  explicit SharedBoard(MemoryBoard& board) : board_(board) {}
  void set(const std::string& key, const std::string& text) override { board_.set(key, text); }
  bool has(const std::string& key) override { return board_.has(key); }
  std::string get(const std::string& key, std::chrono::milliseconds patience) override {
    return board_.get(key, patience);
  }
  int64_t add(const std::string& key, int64_t amount) override { return board_.add(key, amount); }
  void propose(const std::string& key, const std::string& text) override {
    board_.propose(key, text);
  }

 private:
  MemoryBoard& board_;
};

// What a member of the group does.
struct Member {
  int64_t step = 7;
  bool lives = true;                   // has a heartbeat
  std::chrono::milliseconds at = 0ms;  // comes after so long
  bool dies_at_once = false;           // comes, and is dead
};

struct Outcome {
  std::vector<Survivor> survivors;
  std::string error;
};

constexpr Patience kPatience{.silence = 1500ms, .absence = 20s};

// The outcome of each member that lives and comes.
std::map<int64_t, Outcome> agree(const std::map<int64_t, Member>& group, const Patience& patience) {
  MemoryBoard board;
  std::vector<int64_t> members;
  for (const auto& [member, unused] : group) members.push_back(member);
  std::map<int64_t, Outcome> outcomes;
  std::mutex mutex;
  std::vector<std::thread> threads;
  for (const auto& [member, what] : group) {
    if (!what.lives) {
      board.add("beats/" + std::to_string(member), 1);  // it lived once
      continue;
    }
    if (what.dies_at_once) {
      board.add("beats/" + std::to_string(member), 1);
      board.set("lost/1/here/" + std::to_string(member), std::to_string(what.step));
      board.add("lost/1/arrived", 1);
      continue;
    }
    threads.emplace_back([&, member = member, what = what] {
      const Heartbeat heart(std::make_unique<SharedBoard>(board), member, [] {});
      std::this_thread::sleep_for(what.at);
      Outcome outcome;
      try {
        outcome.survivors = agree_on_survivors(board, 1, members, {member, what.step}, patience);
      } catch (const Error& error) {
        outcome.error = error.what();
      }
      const std::lock_guard lock(mutex);
      outcomes[member] = outcome;
    });
  }
  for (std::thread& thread : threads) thread.join();
  return outcomes;
}

TEST(Survivors, OneWithoutAHeartbeatIsLostAndAllOthersKnowTheSame) {
  const auto begin = std::chrono::steady_clock::now();
  const auto outcomes =
      agree({{0, {.step = 7}}, {1, {.lives = false}}, {3, {.step = 8}}, {4, {}}}, kPatience);
  const std::vector<Survivor> expected{{0, 7}, {3, 8}, {4, 7}};
  ASSERT_EQ(outcomes.size(), 3u);
  for (const auto& [member, outcome] : outcomes) {
    EXPECT_EQ(outcome.error, "") << member;
    EXPECT_EQ(outcome.survivors, expected) << member;
  }
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(took, kPatience.silence);
  EXPECT_LT(took, 10s) << "waited for more than the silence";
}

TEST(Survivors, IfAllComeNobodyIsLostAndNobodyWaits) {
  const auto begin = std::chrono::steady_clock::now();
  const auto outcomes = agree({{0, {}}, {1, {}}, {2, {}}}, {.silence = 60s, .absence = 60s});
  ASSERT_EQ(outcomes.size(), 3u);
  EXPECT_EQ(outcomes.at(1).survivors, (std::vector<Survivor>{{0, 7}, {1, 7}, {2, 7}}));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
}

TEST(Survivors, OneThatIsBusyIsWaitedForLongerThanTheSilence) {
  const auto outcomes = agree({{0, {.at = 4s}}, {1, {}}, {2, {.lives = false}}}, kPatience);
  ASSERT_EQ(outcomes.size(), 2u);
  for (const auto& [member, outcome] : outcomes)
    EXPECT_EQ(outcome.survivors, (std::vector<Survivor>{{0, 7}, {1, 7}})) << member;
}

TEST(Survivors, OneThatComesAndDiesBeforeTheVerdictIsLostToo) {
  const auto outcomes = agree({{0, {.at = 4s}}, {1, {.dies_at_once = true}}, {2, {}}}, kPatience);
  ASSERT_EQ(outcomes.size(), 2u);
  for (const auto& [member, outcome] : outcomes)
    EXPECT_EQ(outcome.survivors, (std::vector<Survivor>{{0, 7}, {2, 7}})) << member;
}

TEST(Survivors, OneThatLivesButDoesNotComeInTimeIsLeftBehindAndToldSo) {
  const auto outcomes =
      agree({{0, {}}, {1, {.at = 5s}}, {2, {}}}, {.silence = 1500ms, .absence = 2s});
  ASSERT_EQ(outcomes.size(), 3u);
  EXPECT_EQ(outcomes.at(0).survivors, (std::vector<Survivor>{{0, 7}, {2, 7}}));
  EXPECT_EQ(outcomes.at(1).error,
            "rank 1 was not heard of in time: the other ranks go on without it, so it ends");
}

TEST(Survivors, TheLastOneLeftIsAlone) {
  const auto outcomes = agree({{0, {.lives = false}}, {1, {.step = 3}}}, kPatience);
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes.at(1).survivors, (std::vector<Survivor>{{1, 3}}));
}

}  // namespace
}  // namespace ddpm::dist
