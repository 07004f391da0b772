#pragma once

#include "ddpm/eval/frechet.h"

#include <cstdint>

#include <torch/types.h>

namespace ddpm::eval {

/// Distances and indices of nearest vectors, the nearest first; both [Q,k].
struct Neighbours {
  torch::Tensor distances;  ///< float64
  torch::Tensor indices;    ///< int64, rows of what was searched
};

/// The k vectors of `among` [N,D] nearest to each of `queries` [Q,D], k <= N. Float64, a block of
/// queries at a time, on the tensors' device.
Neighbours nearest(const torch::Tensor& queries, const torch::Tensor& among, int64_t k);

/// Each vector's distance to its k-th nearest other one, float64 [N]; k < N.
torch::Tensor neighbour_radii(const torch::Tensor& x, int64_t k);

/// How two sets of images cover each other; balls reach from each vector to its k-th nearest other
/// one of the same set. Errors are standard errors of the mean over vectors, balls fixed.
struct ManifoldScores {
  Measured precision;  ///< generated in any real ball (Kynkaanniemi 2019), k = 3
  Measured recall;     ///< real in any generated ball (Kynkaanniemi 2019), k = 3
  Measured density;    ///< real balls around a generated vector, over k (Naeem 2020, Eq. 2), k = 5
  Measured coverage;   ///< real balls with a generated vector inside (Naeem 2020, Eq. 3), k = 5
};

struct ManifoldOptions {
  int64_t k_precision = 3;
  int64_t k_density = 5;
};

/// real: [N,D], generated: [M,D], each with more vectors than either k.
ManifoldScores manifold_scores(const torch::Tensor& real, const torch::Tensor& generated,
                               const ManifoldOptions& options = {});

}  // namespace ddpm::eval
