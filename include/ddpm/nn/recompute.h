#pragma once

#include <functional>
#include <vector>

#include <torch/types.h>

namespace ddpm::nn {

/// A part of a network as a function of its inputs. It holds its parameters itself.
using Part = std::function<torch::Tensor(const std::vector<torch::Tensor>& inputs)>;

/// part(inputs) with gradient checkpointing (Chen 2016, "Training deep nets with sublinear memory
/// cost"): only the inputs are kept, and the backward pass computes the part again. Gradients are
/// the same bits. Autocast is as in the forward pass; with `random`, so are the numbers from torch's
/// generator (dropout). inputs: at least one. parameters: all that the part uses. The result must
/// depend on each input and parameter. What `part` refers to must live until the backward pass has
/// ended.
torch::Tensor recompute(const Part& part, const std::vector<torch::Tensor>& inputs,
                        const std::vector<torch::Tensor>& parameters, bool random);

}  // namespace ddpm::nn
