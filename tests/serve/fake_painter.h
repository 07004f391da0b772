#pragma once

#include "ddpm/base/error.h"
#include "ddpm/serve/painter.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

namespace ddpm::serve {

/// What the fake tasks do, shared with the test.
struct FakeState {
  std::atomic<bool> closed = false;  ///< tasks wait before their second step while it is set
  std::atomic<bool> has_network = true;
  std::atomic<int64_t> at_once = 0, most_at_once = 0, runs = 0;
};

/// Its picture i of seed s holds "s:i".
class FakeTask : public Task {
 public:
  FakeTask(SampleRequest request, FakeState& state) : request_(std::move(request)), state_(state) {}

  nlohmann::ordered_json settings() const override {
    return {{"seed", request_.seed}, {"steps", steps()}};
  }

  nlohmann::ordered_json source() const override { return {{"checkpoint", "fake"}}; }

  std::string command() const override {
    return request_.interpolation ? "interpolate" : request_.inpainting ? "inpaint" : "sample";
  }

  std::vector<TaskInput> inputs() const override {
    if (!request_.inpainting) return {};
    return {{"image-00.png", request_.inpainting->image},
            {"mask-00.png", request_.inpainting->mask}};
  }

  void run(const TaskHooks& hooks) override {
    ++state_.runs;
    const int64_t now = ++state_.at_once;
    if (now > state_.most_at_once) state_.most_at_once = now;
    go(hooks);
    --state_.at_once;
  }

 private:
  int64_t steps() const { return request_.steps.value_or(3); }

  void go(const TaskHooks& hooks) const {
    for (int64_t step = 1; step <= steps(); ++step) {
      if (step == 2 && request_.eta == 0.5) throw Error("the network's numbers overflowed");
      do {
        if (!hooks.progress({step, steps(), 0})) return;
        if (state_.closed) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      } while (state_.closed);
      hooks.preview(0, steps() - step, {'p'});
    }
    for (int64_t i = 0; i < request_.num; ++i) hooks.image(i, picture(request_.seed, i));
  }

  static Png picture(int64_t seed, int64_t i) {
    const std::string text = std::to_string(seed) + ":" + std::to_string(i);
    return {text.begin(), text.end()};
  }

  SampleRequest request_;
  FakeState& state_;
};

/// Refuses guidance.
class FakePainter : public Painter {
 public:
  explicit FakePainter(FakeState& state) : state_(state) {}
  nlohmann::ordered_json model() override {
    if (!state_.has_network) return nullptr;
    return {{"timesteps", 10}};
  }
  std::unique_ptr<Task> plan(const SampleRequest& request) override {
    if (!state_.has_network) throw NoNetwork("the run has no checkpoint yet");
    if (request.guidance) throw UsageError("guidance needs a network trained with label_dropout");
    return std::make_unique<FakeTask>(request, state_);
  }

 private:
  FakeState& state_;
};

}  // namespace ddpm::serve
