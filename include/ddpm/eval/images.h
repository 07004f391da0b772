#pragma once

#include "ddpm/data/dataset.h"

#include <cstdint>
#include <functional>
#include <vector>

#include <torch/types.h>

namespace ddpm::eval {

/// Takes images[first], images[first + 1], ... of those asked for: uint8 [B,C,H,W] on the CPU.
using ImageSink = std::function<void(int64_t first, const torch::Tensor& batch)>;

/// Where pictures to be measured come from: hands those of these indices to the sink, in their
/// order. Drawn from a network or read from a data set.
using ImageSource = std::function<void(const std::vector<int64_t>& images, const ImageSink& sink)>;

/// The same with int64 [B] labels, -1 where there are none.
using ExampleSink =
    std::function<void(int64_t first, const torch::Tensor& batch, const torch::Tensor& labels)>;

/// Reads images of a data set, one batch ahead in a thread of its own. Throws IoError.
void visit_examples(const data::Dataset& dataset, const std::vector<int64_t>& images, int64_t batch,
                    const ExampleSink& sink);

/// The images of a data set, which must outlive the source.
ImageSource images_of(const data::Dataset& dataset, int64_t batch = 64);

}  // namespace ddpm::eval
