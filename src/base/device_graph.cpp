#include "ddpm/base/device_graph.h"

#include "ddpm/base/text.h"

#include <mutex>
#include <set>

#include <spdlog/spdlog.h>

namespace ddpm {
namespace {

constexpr const char* kNotCaptured = ": not captured in a CUDA graph: ";

// A training run samples many times; one line is enough.
void say_once(spdlog::level::level_enum level, const std::string& line) {
  static std::mutex mutex;
  static std::set<std::string> said;
  const std::lock_guard lock(mutex);
  if (said.insert(line).second) spdlog::log(level, "{}", line);
}

}  // namespace

DeviceGraph::DeviceGraph(std::string name, const torch::Device& device, const std::string& why_not)
    : name_(std::move(name)) {
  if (!device.is_cuda()) return;  // nobody expects a CUDA graph there
  std::string reason = why_not;
  if (reason.empty()) recorder_ = open_graph_recorder(device, reason);
  if (!recorder_) say_once(spdlog::level::info, name_ + kNotCaptured + reason);
}

DeviceGraph::DeviceGraph(std::string name, std::unique_ptr<GraphRecorder> recorder)
    : name_(std::move(name)), recorder_(std::move(recorder)) {}

void DeviceGraph::run(const std::function<void()>& work) {
  if (recorder_ && !recorded_ && runs_ >= kRunsBefore) record(work);
  if (recorded_) {
    recorder_->replay();
  } else if (recorder_) {
    recorder_->prepare(work);
    ++runs_;
  } else {
    work();
  }
}

void DeviceGraph::record(const std::function<void()>& work) {
  try {
    recorder_->record(work);
    recorded_ = true;
    say_once(spdlog::level::info, name_ + ": captured in a CUDA graph");
  } catch (const std::exception& error) {
    recorder_.reset();
    say_once(spdlog::level::warn, name_ + kNotCaptured + first_line(error));
  }
}

void DeviceGraph::reset() {
  if (recorder_) recorder_->forget();
  recorded_ = false;
  runs_ = 0;
}

}  // namespace ddpm
