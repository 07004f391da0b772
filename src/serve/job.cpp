#include "job.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace ddpm::serve {

using JobJson = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

const char* name_of(Job::State state) {
  static constexpr std::array kNames{"queued", "running", "done", "failed", "cancelled"};
  return kNames.at(static_cast<size_t>(state));
}

Job::Job(std::string id, int64_t num, std::unique_ptr<Task> task)
    : id_(std::move(id)),
      num_(num),
      task_(std::move(task)),
      command_(task_->command()),
      settings_(task_->settings()),
      source_(task_->source()),
      images_(static_cast<size_t>(num)) {
  for (TaskInput& input : task_->inputs())
    inputs_.push_back({input.name, std::make_shared<const Png>(std::move(input.png))});
}

template <class Change>
void Job::change(const Change& change) {
  {
    const std::lock_guard lock(mutex_);
    change();
    ++version_;
  }
  changed_.notify_all();
}

bool Job::is_final() const {
  const std::lock_guard lock(mutex_);
  return is_final_locked();
}

uint64_t Job::bytes() const {
  const std::lock_guard lock(mutex_);
  uint64_t sum = preview_.png ? preview_.png->size() : 0;
  for (const auto& image : images_) sum += image ? image->size() : 0;
  for (const Input& input : inputs_) sum += input.png->size();
  return sum;
}

JobJson Job::to_json() const {
  const std::lock_guard lock(mutex_);
  const std::string base = "/v1/jobs/" + id_;
  JobJson json{{"id", id_},
               {"command", command_},
               {"state", name_of(state_)},
               {"num", num_},
               {"step", progress_.step},
               {"steps", progress_.steps},
               {"images_done", 0},
               {"seconds", seconds_},
               {"images", JobJson::array()},
               {"inputs", JobJson::array()},
               {"settings", settings_},
               {"source", source_}};
  for (size_t i = 0; i < images_.size(); ++i)
    if (images_[i]) json["images"].push_back(fmt::format("{}/images/{}.png", base, i));
  json["images_done"] = json["images"].size();
  for (const Input& input : inputs_)
    json["inputs"].push_back(
        {{"name", input.name}, {"url", fmt::format("{}/inputs/{}", base, input.name)}});
  if (preview_.png && !is_final_locked())
    json["preview"] = {{"url", fmt::format("{}/preview.png?number={}", base, preview_.number)},
                       {"first", preview_.first},
                       {"t", preview_.t}};
  if (!error_.empty()) json["error"] = error_;
  return json;
}

std::shared_ptr<const Png> Job::image(int64_t i) const {
  const std::lock_guard lock(mutex_);
  return i >= 0 && i < num_ ? images_[static_cast<size_t>(i)] : nullptr;
}

std::shared_ptr<const Png> Job::input(const std::string& name) const {
  const auto found = std::find_if(inputs_.begin(), inputs_.end(),
                                  [&](const Input& input) { return input.name == name; });
  return found == inputs_.end() ? nullptr : found->png;
}

std::shared_ptr<const Png> Job::preview() const {
  const std::lock_guard lock(mutex_);
  return preview_.png;
}

uint64_t Job::version() const {
  const std::lock_guard lock(mutex_);
  return version_;
}

uint64_t Job::wait_for_change(uint64_t seen, std::chrono::milliseconds most) const {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, most, [&] { return version_ != seen; });
  return version_;
}

void Job::cancel() {
  std::unique_ptr<Task> released;
  change([&] {
    cancelled_ = true;
    if (state_ != State::kQueued) return;
    state_ = State::kCancelled;
    released = std::move(task_);
  });
}

TaskHooks Job::hooks() {
  return {.progress =
              [this](const TaskProgress& progress) {
                bool go_on = false;
                change([&] {
                  progress_ = progress;
                  seconds_ = std::chrono::duration<double>(Clock::now() - began_).count();
                  go_on = !cancelled_;
                });
                return go_on;
              },
          .image =
              [this](int64_t image, Png png) {
                change([&] {
                  images_.at(static_cast<size_t>(image)) =
                      std::make_shared<const Png>(std::move(png));
                });
              },
          .preview =
              [this](int64_t first, int64_t t, Png png) {
                change([&] {
                  preview_ = {std::make_shared<const Png>(std::move(png)), first, t,
                              preview_.number + 1};
                });
              }};
}

void Job::end(State state, const std::string& error) {
  std::unique_ptr<Task> released;
  change([&] {
    state_ = state;
    error_ = error;
    seconds_ = std::chrono::duration<double>(Clock::now() - began_).count();
    released = std::move(task_);  // the preview stays: a page may have read its address just before
  });
}

bool Job::is_whole() const {
  const std::lock_guard lock(mutex_);
  return std::all_of(images_.begin(), images_.end(),
                     [](const auto& image) { return image != nullptr; });
}

void Job::run() {
  bool starts = false;
  Task* task = nullptr;
  change([&] {
    starts = state_ == State::kQueued;
    if (starts) state_ = State::kRunning;
    began_ = Clock::now();
    task = task_.get();
  });
  if (!starts) return;
  try {
    task->run(hooks());
    end(is_whole() ? State::kDone : State::kCancelled, "");
  } catch (const Error& error) {
    end(State::kFailed, error.what());
  } catch (const std::exception& error) {  // of LibTorch: out of memory, ...
    spdlog::error("a job failed: {}", first_line(error));
    end(State::kFailed, "sampling failed: " + first_line(error));
  }
}

}  // namespace ddpm::serve
