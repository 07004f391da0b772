#pragma once

#include "ddpm/pipeline/picture_note.h"
#include "ddpm/pipeline/sample_plan.h"
#include "ddpm/pipeline/tasks.h"
#include "ddpm/serve/painter.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ddpm::serve {

/// The network in memory. Only the thread of the tasks touches it.
struct Loaded {
  std::shared_ptr<const exchange::Model> network;
  nn::UNet unet = nullptr;
};

/// The way that `ddpm interpolate` would take.
struct Way {
  std::vector<pipeline::NoiseEnd> ends;
  int64_t frames = 0;
};

/// What a task of the server samples.
struct SampleWork {
  std::string command;  ///< "sample", "interpolate" or "inpaint"
  pipeline::SamplePlan plan;
  pipeline::PictureNotes notes;
  std::optional<Way> way;  ///< its noise is drawn when the task runs
  std::vector<TaskInput> inputs;
  int64_t previews = 0;
};

/// A task that samples with `threads` CPU threads. Keeps the network in `loaded` for the next one.
std::unique_ptr<Task> make_sample_task(SampleWork work, std::shared_ptr<Loaded> loaded,
                                       int threads);

}  // namespace ddpm::serve
