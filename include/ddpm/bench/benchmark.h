#pragma once

#include "ddpm/bench/device_profile.h"
#include "ddpm/bench/op_recorder.h"
#include "ddpm/bench/timing.h"
#include "ddpm/config/document.h"
#include "ddpm/data/subset.h"
#include "ddpm/train/experiment.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace ddpm::bench {

/// "train", "forward", "sample", "data", "checkpoint".
const std::vector<std::string>& part_names();

struct Options {
  std::vector<std::string> parts = part_names();
  int64_t warm_up = 2;
  int64_t repeats = 7;
  int64_t sample_steps = 0;  ///< network calls per image (DDIM), 1..T; 0: 10, or T if that is less
  int64_t data_images = 2000;  ///< read at a time, at most
  bool profile = false;
  /// A file for the profile in Chrome's trace format; empty: none.
  std::filesystem::path trace = {};
};

/// What one part takes.
struct Part {
  std::string name;     ///< train, forward, sample, data, save, load, convolutions, ...
  Times times;          ///< of one run
  double images = 0.0;  ///< of one run; 0: it is not counted in images
  double flops = 0.0;   ///< of one run; 0: not counted
  double images_per_s() const { return images / times.median(); }
  double gflops() const { return flops / times.median() * 1e-9; }
};

struct Report {
  std::string device, precision;
  int64_t threads = 0, batch = 0, parameters = 0, sample_steps = 0;
  double forward_flops = 0.0;  ///< per image: convolutions, matrix products, attention
  double memory_mib = 0.0;     ///< peak, after all parts
  std::vector<Part> parts;
  std::map<std::string, OpTotal> profile;  ///< of one training step, if asked for
  /// On a GPU, if a profile is asked for: of a training step and of a forward.
  std::vector<std::pair<std::string, DeviceProfile>> device_profiles;

  const Part* find(const std::string& name) const;
  /// A part's rate divided by the machine's convolution rate, forward or with backward.
  std::optional<double> share(const Part& part) const;
};

/// Measures the parts in turn (data and checkpoint by themselves) beside the network's own 3x3
/// convolutions, run by the tensor library alone. A training step is train::Learner's; batches of
/// train.batch_size. Writes a checkpoint to the system's folder for temporary files and removes it.
Report run(const train::Experiment& experiment, const data::Split& data,
           const torch::Device& device, const Options& options);

/// Removes the folder in which run() keeps its checkpoint meanwhile, even while other threads write
/// there. For a process that is about to end.
void remove_scratch();

/// A table for people, and one line of JSON.
std::string to_text(const Report& report);
std::string to_json(const Report& report);

}  // namespace ddpm::bench
