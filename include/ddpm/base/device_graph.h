#pragma once

#include <functional>
#include <memory>
#include <string>

#include <torch/types.h>

namespace ddpm {

/// Captures the work that is queued on a device, to replay it as one launch.
class GraphRecorder {
 public:
  virtual ~GraphRecorder() = default;
  /// Runs `work` eagerly on the capture stream; the current stream waits for it.
  virtual void prepare(const std::function<void()>& work) = 0;
  /// Captures what `work` queues, without running it, and replaces an earlier graph. If capture
  /// fails, restores the former state and rethrows.
  virtual void record(const std::function<void()>& work) = 0;
  /// Queues the graph on the current stream. torch's generator continues from its present state.
  virtual void replay() = 0;
  virtual void forget() = 0;
};

/// Captures CUDA graphs (at::cuda::CUDAGraph). Returns nullptr, with the reason in `why_not`, if
/// capture is unsupported.
std::unique_ptr<GraphRecorder> open_graph_recorder(const torch::Device& device,
                                                   std::string& why_not);

/// A fixed sequence of device work on fixed tensors: run eagerly three times, then captured as a
/// CUDA graph and replayed, which costs one launch instead of hundreds. If capture is not possible,
/// it runs eagerly every time, and one log line gives the reason. The results are the same.
class DeviceGraph {
 public:
  /// Eager runs before capture, as in PyTorch: libraries choose their algorithms during these.
  static constexpr int64_t kRunsBefore = 3;

  /// `name` appears in log lines. `why_not`: a reason not to capture, else empty.
  DeviceGraph(std::string name, const torch::Device& device, const std::string& why_not = {});
  /// Uses the given recorder.
  DeviceGraph(std::string name, std::unique_ptr<GraphRecorder> recorder);

  /// Does the work once on the current stream: runs `work`, or replays its graph. `work` must not
  /// synchronize with the device. It may be started twice if capture fails, so its host side
  /// effects must be idempotent.
  void run(const std::function<void()>& work);
  /// Call before work that is different, or on different tensors: it is captured again.
  void reset();
  /// Whether work can be captured on this device.
  bool can_record() const { return recorder_ != nullptr; }
  /// Whether the next run is a replay.
  bool recorded() const { return recorded_; }

 private:
  void record(const std::function<void()>& work);

  std::string name_;
  std::unique_ptr<GraphRecorder> recorder_;  // nullptr: always run eagerly
  int64_t runs_ = 0;
  bool recorded_ = false;
};

}  // namespace ddpm
