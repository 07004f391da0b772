#pragma once

#include <functional>
#include <vector>

#include <torch/types.h>

namespace ddpm::nn {

/// A part of a network, as a function of its inputs (its parameters it knows).
using Part = std::function<torch::Tensor(const std::vector<torch::Tensor>& inputs)>;

/// part(inputs), of which nothing but the inputs is kept for the backward pass: there the part is
/// computed once more (Chen 2016, "Training deep nets with sublinear memory cost"). Gradients are
/// the same bits; autocasting, and with `random` the numbers drawn from torch's generator
/// (dropout), are as they were. inputs: at least one. `parameters`: all that the part uses. Each of
/// both must take part in the result; what `part` refers to must live until the backward pass is
/// over.
torch::Tensor recompute(const Part& part, const std::vector<torch::Tensor>& inputs,
                        const std::vector<torch::Tensor>& parameters, bool random);

}  // namespace ddpm::nn
