#pragma once

#include "ddpm/dist/launch.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::dist {

class ProcessGroup;

/// Values by name, as people are shown them: "optimizer.lr", "0.001".
using Facts = std::map<std::string, std::string>;

/// By what processes that meet know each other.
struct Identity {
  Facts run;       ///< which run it is; whoever has another belongs to another run
  Facts settings;  ///< what all ranks of a run must have alike
};

/// All processes of one training. Every operation is collective: all ranks call it, in one order,
/// with tensors of the same shapes. A single process has no connections and every operation returns
/// at once. Where a rank dies, hangs or does not come, the others throw Error, which says what they
/// waited for, when the connection breaks or `timeout` has passed; the world is of no use then.
class World {
 public:
  World();  ///< a single process
  /// Waits for all ranks. `device`: where this rank's tensors are. A process of another run is
  /// never taken for one of this. Throws UsageError, on all ranks, if their settings differ, and
  /// Error if one does not come or the port is taken.
  World(const Launch& launch, const torch::Device& device, std::chrono::milliseconds timeout,
        const Identity& identity = {});
  ~World();
  World(World&&) noexcept;
  World& operator=(World&&) = delete;

  int64_t rank() const { return rank_; }
  int64_t size() const { return size_; }
  bool is_main() const { return rank_ == 0; }

  /// Every rank's tensors become those of rank `from`. Any dtype that the backend knows, strides
  /// kept.
  void broadcast_(const std::vector<torch::Tensor>& tensors, int64_t from = 0) const;
  /// Every tensor becomes the sum over the ranks, the same bits in each: float32, float64, bfloat16
  /// or int64. Joined into buckets of `bucket_bytes`, one reduction each.
  void all_reduce_sum_(const std::vector<torch::Tensor>& tensors,
                       int64_t bucket_bytes = int64_t{25} << 20) const;
  /// The largest of each number over the ranks: for flags. On the CPU, no GPU waits for it.
  std::vector<int64_t> all_reduce_max(std::vector<int64_t> values) const;
  /// True on every rank where it is on one.
  bool any(bool value) const;
  /// Rank 0's numbers, on every rank.
  std::vector<int64_t> from_main(std::vector<int64_t> values) const;
  /// Throws UsageError on every rank unless all have rank 0's `value` ("data": its description).
  void expect_same(const std::string& what, const std::string& value) const;
  /// Throws UsageError on every rank where two of them use one GPU, which NCCL cannot.
  void expect_own_gpus() const;
  /// Returns when all ranks have called it.
  void barrier() const;
  /// Rank 0 does `work` while the others wait. Where it throws, the others throw Error too.
  void on_main(const std::string& what, const std::function<void()>& work) const;

 private:
  friend class GradientReducer;
  void collectively(const char* what, const std::function<void()>& operation) const;

  int64_t rank_ = 0, size_ = 1;
  std::chrono::milliseconds timeout_{0};
  std::unique_ptr<ProcessGroup> group_;  // nullptr: a single process
};

/// The world of one process.
const World& single_process();

}  // namespace ddpm::dist
