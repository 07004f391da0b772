#pragma once

#include <functional>
#include <memory>
#include <string>

#include <torch/types.h>

namespace ddpm {

/// Records what is queued on a device, to be queued again at once.
class GraphRecorder {
 public:
  virtual ~GraphRecorder() = default;
  /// Runs `work` as it is, on the stream that will record it; the current stream waits for it.
  virtual void prepare(const std::function<void()>& work) = 0;
  /// Records what `work` queues, without running it. Where that fails, everything is put back as it
  /// was, and what was thrown is thrown on. Forgets an earlier record.
  virtual void record(const std::function<void()>& work) = 0;
  /// Queues the record on the current stream. torch's generator goes on from its present seed.
  virtual void replay() = 0;
  virtual void forget() = 0;
};

/// Records CUDA graphs (at::cuda::CUDAGraph). nullptr where that cannot be: `why_not` says why.
std::unique_ptr<GraphRecorder> open_graph_recorder(const torch::Device& device,
                                                   std::string& why_not);

/// Work on a device that is the same every time, on tensors that stay where they are: run as it is
/// the first times, then recorded as a CUDA graph and replayed, which costs one launch instead of
/// hundreds. Where nothing can be recorded it is run as it is every time, and one log line says
/// why. The results are the same.
class DeviceGraph {
 public:
  /// PyTorch's own number of runs before a recording: libraries choose their algorithms in them.
  static constexpr int64_t kRunsBefore = 3;

  /// `name` is the work's in log lines. `why_not`: a reason not to record, else empty.
  DeviceGraph(std::string name, const torch::Device& device, const std::string& why_not = {});
  /// Recorded by another recorder.
  DeviceGraph(std::string name, std::unique_ptr<GraphRecorder> recorder);

  /// Does the work once, on the current stream: `work`, or the record of an earlier one. `work`
  /// must wait for nothing on the device, and may be begun twice where recording it fails: what it
  /// does on the host must bear that.
  void run(const std::function<void()>& work);
  /// The next work is other work, or on other tensors: it is recorded anew.
  void reset();
  /// Can work be recorded here at all?
  bool can_record() const { return recorder_ != nullptr; }
  /// Is the next run a replay?
  bool recorded() const { return recorded_; }

 private:
  void record(const std::function<void()>& work);

  std::string name_;
  std::unique_ptr<GraphRecorder> recorder_;  // nullptr: run as it is
  int64_t runs_ = 0;
  bool recorded_ = false;
};

}  // namespace ddpm
