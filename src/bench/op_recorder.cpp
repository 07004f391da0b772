#include "ddpm/base/clock.h"
#include "ddpm/bench/profile.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include <ATen/record_function.h>

namespace ddpm::bench {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<int64_t> sizes_of(const c10::IValue& value) {
  return value.isTensor() && value.toTensor().defined() ? value.toTensor().sizes().vec()
                                                        : std::vector<int64_t>{};
}

// One number is used for both axes.
std::vector<int64_t> pair_of(const c10::IValue& value) {
  const std::vector<int64_t> numbers = value.toIntVector();
  return {numbers.front(), numbers.back()};
}

double product(const std::vector<int64_t>& sizes) {
  double all = 1.0;
  for (const int64_t n : sizes) all *= static_cast<double>(n);
  return all;
}

// Input [B,C,H,W], weight [O,C,kh,kw]: C kh kw multiply-adds per output pixel and channel.
double convolution_flops(const OpShape& s) {
  double pixels = static_cast<double>(s.input[0]);
  for (size_t i = 0; i < 2; ++i) {
    pixels *= static_cast<double>(
        (s.input[2 + i] + 2 * s.padding[i] - s.weight[2 + i]) / s.stride[i] + 1);
  }
  return 2.0 * pixels * product(s.weight);
}

OpShape shape_of(const std::string& name, c10::ArrayRef<const c10::IValue> in) {
  OpShape s;
  s.op = name;
  const bool ours = name == "ddpm::convolution";
  if (ours || name == "aten::convolution") {
    s.input = sizes_of(in[0]), s.weight = sizes_of(in[1]);
    if (ours) s.input[1] = s.weight[1];  // x lacks the skip concatenated to it
    s.stride = ours ? std::vector<int64_t>{1, 1} : pair_of(in[3]);
    s.padding = ours ? std::vector<int64_t>{s.weight[2] / 2, s.weight[3] / 2} : pair_of(in[4]);
    if (s.input.size() == 4) s.flops = convolution_flops(s);
  } else if (name == "aten::linear") {  // input [..., K], weight [N, K]
    s.input = sizes_of(in[0]), s.weight = sizes_of(in[1]);
    s.flops = 2.0 * product(s.input) * static_cast<double>(s.weight[0]);
  } else if (name == "aten::scaled_dot_product_attention") {  // [B,M,N,D]: Q K^T, softmax(Q K^T) V
    s.input = sizes_of(in[0]), s.weight = sizes_of(in[1]);
    s.flops = 4.0 * product(s.input) * static_cast<double>(s.weight[s.weight.size() - 2]);
  } else if (name == "ddpm::attention") {  // input [B,N,3C]: Q, K and V
    s.input = sizes_of(in[0]);
    s.flops = 4.0 / 3.0 * product(s.input) * static_cast<double>(s.input[1]);
  }
  return s;
}

}  // namespace

struct OpRecorder::State {
  struct Running {
    std::string name;
    Clock::time_point begin;
    double children_s = 0.0;
    bool counted = false;  // its FLOPs, or an outer operation's, are counted
  };
  // Autograd runs a GPU's backward pass in its own thread, with the callbacks of the thread that
  // started it. Calls are nested per thread.
  std::mutex mutex;
  std::map<std::thread::id, std::vector<Running>> stacks;
  std::map<std::string, OpTotal> totals;
  std::vector<OpShape> shapes;

  void begin(const at::RecordFunction& f) {
    const std::lock_guard lock(mutex);
    std::vector<Running>& stack = stacks[std::this_thread::get_id()];
    Running running{f.name(), Clock::now()};
    running.counted = !stack.empty() && stack.back().counted;
    if (!running.counted) {
      OpShape shape = shape_of(running.name, f.inputs());
      running.counted = shape.flops > 0;
      if (running.counted) shapes.push_back(std::move(shape));
    }
    running.begin = Clock::now();
    stack.push_back(std::move(running));
  }
  void end() {
    const std::lock_guard lock(mutex);
    std::vector<Running>& stack = stacks[std::this_thread::get_id()];
    if (stack.empty()) return;  // begun before recording
    const Running done = std::move(stack.back());
    stack.pop_back();
    const double seconds = seconds_since(done.begin);
    OpTotal& total = totals[done.name];
    ++total.calls;
    total.self_s += seconds - done.children_s;
    if (!stack.empty()) stack.back().children_s += seconds;
  }
};

namespace {

std::atomic<void*> listener = nullptr;  // global, because callbacks have no captured state

}  // namespace

OpRecorder::OpRecorder() : state_(std::make_unique<State>()) {
  void* none = nullptr;
  TORCH_CHECK(listener.compare_exchange_strong(none, state_.get()), "one recorder at a time");
  handle_ = at::addThreadLocalCallback(
      at::RecordFunctionCallback(
          [](const at::RecordFunction& f) -> std::unique_ptr<at::ObserverContext> {
            if (void* state = listener.load()) static_cast<State*>(state)->begin(f);
            return nullptr;
          },
          [](const at::RecordFunction&, at::ObserverContext*) {
            if (void* state = listener.load()) static_cast<State*>(state)->end();
          })
          .needsInputs(true)
          .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
}

OpRecorder::~OpRecorder() {
  at::removeCallback(handle_);
  listener = nullptr;
}

const std::map<std::string, OpTotal>& OpRecorder::totals() const { return state_->totals; }

const std::vector<OpShape>& OpRecorder::shapes() const { return state_->shapes; }

double OpRecorder::flops() const {
  double sum = 0.0;
  for (const OpShape& shape : state_->shapes) sum += shape.flops;
  return sum;
}

}  // namespace ddpm::bench
