#include "ddpm/base/device_graph.h"

#include <exception>
#include <optional>
#include <utility>

#include <ATen/Context.h>
#include <ATen/core/Generator.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/cuda.h>

namespace ddpm {
namespace {

namespace allocator = c10::cuda::CUDACachingAllocator;

// Work queued on `later` from now on waits for the work now queued on `earlier`.
void wait_for(const c10::Stream& later, const c10::Stream& earlier) {
  c10::Event event(c10::DeviceType::CUDA);
  event.record(earlier);
  event.block(later);
}

// A graph's own generator state, which follows the device's default generator at each replay.
// Capture keeps the generator's state for good: two graphs would share the default one, and a
// failed capture would leave it unusable.
class OwnGenerator {
 public:
  explicit OwnGenerator(const torch::Device& device)
      : default_(at::globalContext().defaultGenerator(device)), own_(default_.clone()) {}

  /// Makes this the default generator while `recording` runs.
  template <class Recording>
  void lend_to(const Recording& recording) {
    const at::Generator before = default_.graphsafe_get_state();
    default_.graphsafe_set_state(own_);
    recording();
    default_.graphsafe_set_state(before);
  }
  template <class Replay>
  void follow(const Replay& replay) {
    own_.set_current_seed(default_.current_seed());
    own_.set_offset(default_.get_offset());
    replay();
    default_.set_offset(own_.get_offset());
  }

 private:
  at::Generator default_, own_;
};

// One step of cleaning up after a failed capture; it may already have been done.
template <class Step>
void attempt(const Step& step) {
  try {
    step();
  } catch (const std::exception&) {  // the failure of the capture is reported
  }
}

// Whether the graph returns its memory pool: not if its capture could not be ended.
bool has_pool(at::cuda::CUDAGraph& graph) {
  try {
    graph.pool();
    return true;
  } catch (const c10::Error&) {
    return false;
  }
}

class CudaGraphRecorder : public GraphRecorder {
 public:
  explicit CudaGraphRecorder(const torch::Device& device)
      : device_(device), stream_(c10::cuda::getStreamFromPool(false, device.index())) {}

  void prepare(const std::function<void()>& work) override {
    const c10::Stream outer = c10::cuda::getCurrentCUDAStream(device_.index());
    wait_for(stream_, outer);
    {
      const c10::StreamGuard guard(stream_);
      work();
    }
    wait_for(outer, stream_);
  }

  void record(const std::function<void()>& work) override {
    forget();
    const c10::DeviceGuard device(device_);
    // The graph has its own memory: unused memory of earlier runs is released first.
    torch::cuda::synchronize(device_.index());
    c10::getDeviceAllocator(device_.type())->emptyCache();
    OwnGenerator generator(device_);
    generator.lend_to([&] { capture(work); });
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    generator_ = generator;
  }

  void replay() override {
    generator_->follow([&] { graph_->replay(); });
  }

  void forget() override {
    graph_.reset();
    generator_.reset();
  }

 private:
  // Sets graph_, or failure_, and closes the capture.
  void capture(const std::function<void()>& work) {
    const c10::cuda::MempoolId_t pool = at::cuda::graph_pool_handle();
    auto graph = std::make_unique<at::cuda::CUDAGraph>();
    {
      const c10::StreamGuard guard(stream_);
      const auto keep_failure = [&](const auto& step) {
        try {
          step();
        } catch (...) {
          if (!failure_) failure_ = std::current_exception();  // later errors are its consequences
        }
      };
      keep_failure([&] {
        // Checks only this thread: others may decode images or write a checkpoint.
        graph->capture_begin(pool, cudaStreamCaptureModeThreadLocal);
        work();
      });
      keep_failure([&] { graph->capture_end(); });
    }
    if (!failure_) {
      graph_ = std::move(graph);
      return;
    }
    const bool returns_pool = has_pool(*graph);
    graph.reset();
    if (returns_pool) return;
    attempt([&] { allocator::endAllocateToPool(device_.index(), pool); });
    attempt([&] { allocator::releasePool(device_.index(), pool); });
  }

  const torch::Device device_;
  const c10::cuda::CUDAStream stream_;
  std::unique_ptr<at::cuda::CUDAGraph> graph_;
  std::optional<OwnGenerator> generator_;
  std::exception_ptr failure_;
};

}  // namespace

std::unique_ptr<GraphRecorder> open_graph_recorder(const torch::Device& device,
                                                   std::string& why_not) {
  if (!device.is_cuda()) {
    why_not = device.str() + " is no CUDA device";
    return nullptr;
  }
  const auto index =
      device.has_index() ? device.index() : c10::cuda::getCurrentCUDAStream().device_index();
  return std::make_unique<CudaGraphRecorder>(torch::Device(torch::kCUDA, index));
}

}  // namespace ddpm
