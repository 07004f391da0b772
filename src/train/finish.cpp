#include "ddpm/base/error.h"
#include "ddpm/checkpoint/store.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_text.h"
#include "ddpm/train/resume.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace ddpm::train {
namespace {

namespace fs = std::filesystem;

struct Ending {
  int64_t begin = 0;  // the step from which the rate falls
  int64_t steps = 0;  // train.steps
};

fs::path ending_file(const fs::path& run) { return run / "finish.json"; }

Ending read_ending(const fs::path& file) {
  try {
    const auto json = io::parsed_json(io::read_text(file));
    const Ending ending{json.at("begin"), json.at("steps")};
    if (ending.begin >= 0 && ending.steps > ending.begin) return ending;
  } catch (const nlohmann::json::exception&) {
  }
  throw IoError(file, "is damaged; delete it, and use --finish again");
}

Ending new_ending(const fs::path& run, int64_t decay_steps) {
  const checkpoint::CheckpointStore store(run / "checkpoints");
  const std::vector<int64_t> steps = store.steps();
  if (steps.empty())
    throw UsageError(fmt::format("--finish: {} holds no checkpoint to finish from", run.string()));
  const Ending ending{steps.front(), steps.front() + decay_steps};
  io::write_file_atomic(
      ending_file(run),
      io::json_text({{"begin", ending.begin}, {"steps", ending.steps}}, 1) + "\n");
  return ending;
}

}  // namespace

void finish_from_here_(Experiment& experiment, config::Document& document, const fs::path& run,
                       const dist::World& world) {
  OptimizerConfig& optimizer = experiment.optimizer;
  if (optimizer.decay != LrDecay::kStable)
    throw UsageError(
        "--finish needs optimizer.decay = \"stable\"; with another decay set train.steps");
  if (optimizer.decay_steps == 0)
    optimizer.decay_steps = std::max<int64_t>(experiment.train.steps / 10, 1);
  Ending ending;
  world.on_main("read finish.json", [&] {
    const fs::path file = ending_file(run);
    ending = fs::exists(file) ? read_ending(file) : new_ending(run, optimizer.decay_steps);
  });
  const std::vector<int64_t> numbers = world.from_main({ending.begin, ending.steps});
  optimizer.decay_steps = numbers[1] - numbers[0];
  experiment.train.steps = numbers[1];
  document.set(fmt::format("train.steps={}", experiment.train.steps));
  document.set(fmt::format("optimizer.decay_steps={}", optimizer.decay_steps));
  if (world.is_main())
    spdlog::info("finishing: the learning rate falls to 0 from step {} to {}", numbers[0],
                 numbers[1]);
}

void expect_not_finishing(const fs::path& run) {
  if (!fs::exists(ending_file(run))) return;
  throw UsageError(
      fmt::format("{} is being finished: use --finish again, or delete {} to train on at the full "
                  "rate",
                  run.string(), ending_file(run).string()));
}

}  // namespace ddpm::train
