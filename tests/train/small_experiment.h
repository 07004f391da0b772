#pragma once

#include "ddpm/data/factory.h"
#include "ddpm/train/experiment.h"

#include <string>
#include <vector>

namespace ddpm::train {

/// A network that trains a step in milliseconds, on 40 procedural images; `changes`:
/// SECTION.KEY=VALUE.
inline config::Document small_document(const std::vector<std::string>& changes = {}) {
  config::Document document = config::Document::parse(R"([data]
kind = "procedural"
size = 40
image_size = 8
channels = 1
[model]
channels = 8
channel_multipliers = [1, 2]
blocks = 1
attention_resolutions = [4]
groups = 4
dropout = 0.2
[train]
steps = 100
batch_size = 4
sample_count = 2
[ema]
decay = [0.9, 0.5]
)",
                                                      "small.toml");
  for (const std::string& change : changes) document.set(change);
  return document;
}

inline Experiment small_experiment(const std::vector<std::string>& changes = {}) {
  config::Document document = small_document(changes);
  Experiment experiment = read_experiment(document);
  const auto dataset = data::open_dataset(experiment.data, 0);
  resolve_unet(experiment, document, *dataset);
  return experiment;
}

}  // namespace ddpm::train
