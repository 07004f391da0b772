#pragma once

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace ddpm::train {

/// The linear assignment problem: a column for each row, each column once, so that the sum of
/// cost[row][column] is the least. cost: float64 [N,N], finite, on the CPU. Shortest augmenting
/// paths (Jonker and Volgenant 1987), O(N^3). Among equally good assignments the result is a function
/// of `cost` alone.
std::vector<int64_t> best_assignment(const torch::Tensor& cost);

}  // namespace ddpm::train
