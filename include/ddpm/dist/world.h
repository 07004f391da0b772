#pragma once

#include "ddpm/base/error.h"
#include "ddpm/dist/launch.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::dist {

class ProcessGroup;

/// Values by name, as in messages: "optimizer.lr", "0.001".
using Facts = std::map<std::string, std::string>;

/// Identifies the processes of a run when they meet.
struct Identity {
  Facts run;       ///< which run it is; a process with other values is of another run
  Facts settings;  ///< must be equal on all ranks of a run
};

/// What the other ranks do if one is lost.
enum class OnLostRank {
  kStop,    ///< "stop": all end with an error
  kShrink,  ///< "shrink": they can go on (World::regroup_)
};
constexpr auto names_of(OnLostRank) { return std::array{"stop", "shrink"}; }

/// A collective operation of a world that can shrink failed, because a rank is lost or hangs.
class RankLost : public Error {
 public:
  using Error::Error;
};

/// The ranks that are left could not agree: the process that holds the store is lost.
class NoAgreement : public Error {
 public:
  using Error::Error;
};

/// The ranks that are left after a loss.
struct Regrouped {
  std::vector<std::string>
      lost;          ///< "rank 3 (node01:4711)": the rank at the start, host and process
  int64_t step = 0;  ///< the last that one of those left has completed
  int64_t from = 0;  ///< rank of one that has completed it
};

/// All processes of one training. Every operation is collective: all ranks call it, in the same
/// order, with tensors of the same shapes. In a single process every operation returns immediately.
/// If a rank dies, hangs or does not take part, the others throw Error when the connection breaks
/// or after `timeout`; the message says what they waited for. The world is then unusable, or, with
/// kShrink, until regroup_: they throw RankLost.
class World {
 public:
  World();  ///< a single process
  /// Waits for all ranks. `device`: of this rank's tensors. Refuses processes of another run.
  /// Throws UsageError on all ranks if their settings differ, and Error if a rank does not come or
  /// the port is in use.
  World(const Launch& launch, const torch::Device& device, std::chrono::milliseconds timeout,
        const Identity& identity = {}, OnLostRank on_lost_rank = OnLostRank::kStop);
  ~World();
  World(World&&) noexcept;
  World& operator=(World&&) = delete;

  int64_t rank() const { return rank_; }
  int64_t size() const { return size_; }
  bool is_main() const { return rank_ == 0; }
  /// This process's rank at the start, which regroup_ does not change.
  int64_t started_as() const { return members_.at(static_cast<size_t>(rank_)); }

  /// After RankLost: agrees with the other ranks on who is left, and makes these the world. Their
  /// order stays, and ranks are numbered anew from 0. `step`: the last that this rank has completed.
  /// Waits for those who live, up to `timeout`. Throws NoAgreement if rank 0 held the store and is
  /// lost (not under torchrun, which holds it); this process then is alone. Throws Error if the
  /// others went on without this one. GradientReducers need rebuild_. Collective.
  Regrouped regroup_(int64_t step);

  /// Copies the tensors of rank `from` to all ranks. Any dtype of the backend; strides are kept.
  void broadcast_(const std::vector<torch::Tensor>& tensors, int64_t from = 0) const;
  /// Replaces every tensor by its sum over the ranks, with the same bits on each: float32, float64,
  /// bfloat16 or int64. Concatenated into buckets of `bucket_bytes`, one reduction each.
  void all_reduce_sum_(const std::vector<torch::Tensor>& tensors,
                       int64_t bucket_bytes = int64_t{25} << 20) const;
  /// The maximum of each number over the ranks, for flags. On the CPU, without GPU synchronization.
  std::vector<int64_t> all_reduce_max(std::vector<int64_t> values) const;
  /// True on every rank if it is true on one.
  bool any(bool value) const;
  /// Rank 0's values, on every rank.
  std::vector<int64_t> from_main(std::vector<int64_t> values) const;
  /// Throws UsageError on every rank unless all have rank 0's `value`. `what` names it ("data").
  void expect_same(const std::string& what, const std::string& value) const;
  /// Throws UsageError on every rank if two of them use the same GPU, which NCCL does not support.
  void expect_own_gpus() const;
  /// Returns when all ranks have called it.
  void barrier() const;
  /// Rank 0 does `work` while the others wait. If it throws, the others throw Error.
  void on_main(const std::string& what, const std::function<void()>& work) const;

 private:
  friend class GradientReducer;
  void collectively(const char* what, const std::function<void()>& operation) const;
  [[noreturn]] void give_up(const char* what, const std::exception& error) const;
  std::string position() const;

  int64_t rank_ = 0, size_ = 1;
  bool shrinks_ = false;
  std::vector<int64_t> members_{0};  // by rank: the rank at the start
  std::chrono::milliseconds timeout_{0};
  std::unique_ptr<ProcessGroup> group_;  // nullptr: a single process
  mutable int64_t operations_ = 0;       // begun so far
  mutable std::deque<const char*> last_operations_;
};

/// The world of a single process.
const World& single_process();

}  // namespace ddpm::dist
