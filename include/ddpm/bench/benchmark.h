#pragma once

#include "ddpm/bench/profile.h"
#include "ddpm/bench/timing.h"
#include "ddpm/config/document.h"
#include "ddpm/data/view.h"
#include "ddpm/train/experiment.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace ddpm::bench {

/// The parts to measure: "train", "forward", "sample", "data", "checkpoint".
const std::vector<std::string>& part_names();

struct Options {
  std::vector<std::string> parts = part_names();
  int64_t warm_up = 2;
  int64_t repeats = 7;
  int64_t sample_steps = 0;    ///< network calls per image (DDIM), 1..T; 0: min(10, T)
  int64_t data_images = 2000;  ///< maximum number of images read per run
  bool profile = false;
  /// Output file for the profile, in Chrome's trace format; empty: none.
  std::filesystem::path trace = {};
};

/// The cost of one part.
struct Part {
  std::string name;     ///< train, forward, sample, data, save, load, convolutions, ...
  Times times;          ///< per run
  double images = 0.0;  ///< per run; 0: not counted in images
  double flops = 0.0;   ///< per run; 0: not counted
  double images_per_s() const { return images / times.median(); }
  double gflops() const { return flops / times.median() * 1e-9; }
};

struct Report {
  std::string device, precision;
  int64_t threads = 0, batch = 0, parameters = 0, sample_steps = 0;
  double forward_flops = 0.0;  ///< per image: convolutions, matrix products, attention
  double memory_mib = 0.0;     ///< peak, after all parts
  std::vector<Part> parts;
  std::map<std::string, OpTotal> profile;  ///< of one training step, if requested
  /// Of a training step and of a forward pass; only on a GPU and if requested.
  std::vector<std::pair<std::string, DeviceProfile>> device_profiles;

  const Part* find(const std::string& name) const;
  /// A part's FLOP rate divided by that of the 3x3 convolutions: with backward for "train", else
  /// forward only. Empty for the convolutions themselves and for parts without FLOPs.
  std::optional<double> share(const Part& part) const;
};

/// Measures the parts in turn (data and checkpoint separately), together with the network's 3x3
/// convolutions alone, run by the tensor library. Training steps use train::Learner and batches of
/// train.batch_size. Writes a checkpoint to the system's temporary folder and removes it.
Report run(const train::Experiment& experiment, const data::Split& data,
           const torch::Device& device, const Options& options);

/// Removes run()'s temporary folder, even while other threads write to it. For a process that is
/// about to end.
void remove_scratch();

/// The report as a table (to_text), or as one line of JSON (to_json).
std::string to_text(const Report& report);
std::string to_json(const Report& report);

}  // namespace ddpm::bench
