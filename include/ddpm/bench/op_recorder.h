#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ddpm::bench {

/// What the tensor library did under one name.
struct OpTotal {
  int64_t calls = 0;
  double self_s = 0.0;  ///< without what it called itself; on CUDA: to queue it
};

/// A convolution's or matrix product's work.
struct OpShape {
  std::string op;
  std::vector<int64_t> input, weight;  ///< of a convolution [B,C,H,W] and [O,C,kh,kw]
  std::vector<int64_t> stride, padding;
  double flops = 0.0;  ///< two a multiplication and addition
  bool operator==(const OpShape&) const = default;
};

/// While alive, records every operation of the tensor library and of ours that this thread begins,
/// and those of the threads that autograd runs its backward passes on. One recorder at a time in a
/// process; a second one throws c10::Error. Destroy it after those backward passes have ended.
class OpRecorder {
 public:
  OpRecorder();
  ~OpRecorder();
  OpRecorder(const OpRecorder&) = delete;
  OpRecorder& operator=(const OpRecorder&) = delete;

  const std::map<std::string, OpTotal>& totals() const;
  /// In the order of the calls: convolutions, matrix products and attention. Calls within others
  /// are not counted again.
  const std::vector<OpShape>& shapes() const;
  double flops() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
  uint64_t handle_;
};

}  // namespace ddpm::bench
