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

// What is queued on `later` from here on waits for what `earlier` holds now.
void wait_for(const c10::Stream& later, const c10::Stream& earlier) {
  c10::Event event(c10::DeviceType::CUDA);
  event.record(earlier);
  event.block(later);
}

// A generator state of a record's own, which goes on from wherever the device's default generator
// stands at each replay. A recording takes hold of the default generator's state for good: two
// records would tie each other's, and one that fails would leave it unusable.
class OwnGenerator {
 public:
  explicit OwnGenerator(const torch::Device& device)
      : default_(at::globalContext().defaultGenerator(device)), own_(default_.clone()) {}

  /// While `recording` runs, the default generator is this one.
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

// What tidies up after a recording that failed: each step may have been done already.
template <class Step>
void attempt(const Step& step) {
  try {
    step();
  } catch (const std::exception&) {  // the recording's failure is the one to tell of
  }
}

// Will the graph give its memory pool back? Not where its recording could not be ended.
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
    // The record has memory of its own: what earlier runs left unused is given back first.
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
  // Sets graph_, or failure_ and leaves nothing open.
  void capture(const std::function<void()>& work) {
    const c10::cuda::MempoolId_t pool = at::cuda::graph_pool_handle();
    auto graph = std::make_unique<at::cuda::CUDAGraph>();
    {
      const c10::StreamGuard guard(stream_);
      const auto keep_failure = [&](const auto& step) {
        try {
          step();
        } catch (...) {
          if (!failure_) failure_ = std::current_exception();  // what follows is its consequence
        }
      };
      keep_failure([&] {
        // Only this thread is watched: others may decode images or write a checkpoint meanwhile.
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
