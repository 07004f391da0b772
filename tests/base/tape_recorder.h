#pragma once

#include "ddpm/base/device_graph.h"

#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <ATen/record_function.h>

namespace ddpm {

/// The operations of this thread while it lives, in their order: each with those of its arguments
/// that are numbers, which a graph would keep as they were when it was recorded.
class OperationLog {
 public:
  OperationLog() {
    at::RecordFunctionCallback callback(
        [](const at::RecordFunction& op) -> std::unique_ptr<at::ObserverContext> {
          std::ostringstream line;
          line << op.name();
          for (const c10::IValue& argument : op.inputs()) {
            if (argument.isScalar()) line << ' ' << argument.toScalar();
          }
          lines().push_back(line.str());
          return nullptr;
        });
    lines().clear();
    handle_ =
        at::addThreadLocalCallback(callback.needsInputs(true).scopes({at::RecordScope::FUNCTION}));
  }
  ~OperationLog() { at::removeCallback(handle_); }
  OperationLog(const OperationLog&) = delete;
  OperationLog& operator=(const OperationLog&) = delete;

  std::vector<std::string> take() const { return std::exchange(lines(), {}); }

 private:
  static std::vector<std::string>& lines() {
    static thread_local std::vector<std::string> log;
    return log;
  }
  at::CallbackHandle handle_ = 0;
};

/// What a TapeRecorder was asked for, in a test's hands.
struct Tape {
  int prepared = 0, recorded = 0, replayed = 0, forgotten = 0;
  std::vector<std::vector<std::string>> operations;  ///< of each replay
  std::string failure;                               ///< message that record throws, if not empty
};

/// Keeps the work instead of its operations and does it again at a replay: everything about a
/// recorded graph but the graph, on the CPU.
class TapeRecorder : public GraphRecorder {
 public:
  explicit TapeRecorder(Tape& tape) : tape_(tape) {}
  void prepare(const std::function<void()>& work) override {
    ++tape_.prepared;
    work();
  }
  void record(const std::function<void()>& work) override {
    if (!tape_.failure.empty()) throw std::runtime_error(tape_.failure);
    ++tape_.recorded;
    work_ = work;
  }
  void replay() override {
    ++tape_.replayed;
    const OperationLog log;
    work_();
    tape_.operations.push_back(log.take());
  }
  void forget() override {
    ++tape_.forgotten;
    work_ = {};
  }

 private:
  Tape& tape_;
  std::function<void()> work_;
};

}  // namespace ddpm
