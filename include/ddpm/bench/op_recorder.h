#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ddpm::bench {

/// The total of all calls of one operation.
struct OpTotal {
  int64_t calls = 0;
  double self_s = 0.0;  ///< without nested calls; on CUDA: the time to enqueue it
};

/// The shapes and FLOPs of a convolution, matrix product or attention.
struct OpShape {
  std::string op;
  std::vector<int64_t> input, weight;  ///< for a convolution [B,C,H,W] and [O,C,kh,kw]
  std::vector<int64_t> stride, padding;
  double flops = 0.0;  ///< two per multiply-add
  bool operator==(const OpShape&) const = default;
};

/// While it exists, records the operations of the tensor library and of this program that this
/// thread starts, including backward passes in autograd's threads. Only one recorder at a time per
/// process; a second one throws c10::Error. Destroy it after those backward passes have ended.
class OpRecorder {
 public:
  OpRecorder();
  ~OpRecorder();
  OpRecorder(const OpRecorder&) = delete;
  OpRecorder& operator=(const OpRecorder&) = delete;

  const std::map<std::string, OpTotal>& totals() const;
  /// Convolutions, matrix products and attention, in the order of the calls. Nested calls are not
  /// counted again.
  const std::vector<OpShape>& shapes() const;
  double flops() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
  uint64_t handle_;
};

}  // namespace ddpm::bench
