#include "ddpm/base/clock.h"
#include "ddpm/base/error.h"
#include "ddpm/checkpoint/content.h"

#include <chrono>

#include <signal.h>
#include <torch/utils.h>

namespace ddpm::checkpoint {
namespace {

// Blocks signals in the writer's thread. The training thread polls them.
void block_signals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

SaveOutcome save(CheckpointStore& store, const CheckpointContent& content) {
  const auto begin = std::chrono::steady_clock::now();
  SaveOutcome outcome;
  outcome.step = content.step;
  try {
    outcome.folder = write_checkpoint(store, content);
    store.retain();
  } catch (const std::exception& error) {
    outcome.problem = error.what();
  }
  outcome.seconds = seconds_since(begin);
  return outcome;
}

}  // namespace

CheckpointWriter::CheckpointWriter(CheckpointStore& store) : store_(store) {}

void CheckpointWriter::start(CheckpointContent content) {
  TORCH_CHECK(!busy(), "the save before has not been collected");
  under_way_ = std::async(std::launch::async, [this, content = std::move(content)] {
    block_signals();
    return save(store_, content);
  });
}

std::optional<SaveOutcome> CheckpointWriter::poll() {
  const bool ended =
      busy() && under_way_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  return ended ? wait() : std::nullopt;
}

std::optional<SaveOutcome> CheckpointWriter::wait() {
  if (!busy()) return std::nullopt;
  return under_way_.get();
}

}  // namespace ddpm::checkpoint
