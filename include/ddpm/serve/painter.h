#pragma once

#include "ddpm/base/error.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace ddpm::serve {

/// There is no network to sample from, yet.
class NoNetwork : public Error {
 public:
  using Error::Error;
};

using Png = std::vector<uint8_t>;

/// The noise of an image, where a way begins or ends.
struct WayEnd {
  std::optional<int64_t> seed;  ///< none: the request's
  int64_t image = 0;
};

/// The way from each end to the next, as `ddpm interpolate`.
struct Interpolation {
  std::vector<WayEnd> between;  ///< two or more
  int64_t frames = 9;           ///< images from one end to the next, both included
};

/// A picture to be redrawn where the mask is light, as `ddpm inpaint`.
struct Inpainting {
  Png image, mask;  ///< PNG or JPEG, as the client sent them
  int64_t rounds = 10;
};

/// A wish of a client. What is empty is left to the checkpoint's settings.
struct SampleRequest {
  std::optional<std::string> method, sigma, spacing;
  std::optional<int64_t> steps;
  std::optional<double> eta, guidance;
  std::vector<std::string> classes;   ///< in turn, by name or number; empty: all
  std::optional<std::string> vector;  ///< of all images: "smiling=1,age=0.3" or "1,0.3"
  int64_t seed = 0;
  int64_t num = 4;               ///< images, those of an interpolation too
  int64_t previews = 10;         ///< x0 estimates on the way, at most
  std::optional<Png> condition;  ///< PNG or JPEG: what the images are made from (model.condition)
  std::optional<Interpolation> interpolation;  ///< at most one of the two
  std::optional<Inpainting> inpainting;
};

/// A picture that a task was given.
struct TaskInput {
  std::string name;  ///< of a file that the note in a picture names: "image-1a2b3c4d.png"
  Png png;
};

/// How far a task is.
struct TaskProgress {
  int64_t step = 0;   ///< done, of the images in work
  int64_t steps = 0;  ///< per image
  int64_t images_done = 0;
};

/// What a task reports on the way, in its own thread.
struct TaskHooks {
  std::function<bool(const TaskProgress&)> progress;           ///< after each step; false: stop
  std::function<void(int64_t image, Png png)> image;           ///< finished
  std::function<void(int64_t first, int64_t t, Png)> preview;  ///< see Preview in docs/serving.md
};

/// A checked request.
class Task {
 public:
  virtual ~Task() = default;
  /// "sample", "interpolate" or "inpaint": the command of ddpm that does the same.
  virtual std::string command() const = 0;
  /// All settings in full, as in a picture's note.
  virtual nlohmann::ordered_json settings() const = 0;
  /// The files that are read, for people.
  virtual nlohmann::ordered_json source() const = 0;
  /// The pictures that it was given.
  virtual std::vector<TaskInput> inputs() const = 0;
  /// Samples the images. Throws what sampling throws.
  virtual void run(const TaskHooks& hooks) = 0;
};

/// Samples for the server, by the newest network that there is. Its functions are called by many
/// threads at once, also while a task runs, and do not wait for that.
class Painter {
 public:
  virtual ~Painter() = default;
  /// The network for people and programs: shape, classes, methods, defaults. null if there is none.
  virtual nlohmann::ordered_json model() = 0;
  /// Checks a request against the network. Throws UsageError, NoNetwork, or IoError.
  virtual std::unique_ptr<Task> plan(const SampleRequest& request) = 0;
};

}  // namespace ddpm::serve
