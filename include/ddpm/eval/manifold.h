#pragma once

#include "ddpm/eval/jackknife.h"

#include <cstdint>

#include <torch/types.h>

namespace ddpm::eval {

/// Distances and indices of nearest vectors, the nearest first; both [Q,k].
struct Neighbours {
  torch::Tensor distances;  ///< float64
  torch::Tensor indices;    ///< int64, rows of what was searched
};

/// The k vectors of `among` [N,D] nearest to each of `queries` [Q,D], k <= N: all of them are
/// looked at, a block of queries and of `among` at a time, on the tensors' device. Distances are
/// float64, between equal vectors exactly 0.
Neighbours nearest(const torch::Tensor& queries, const torch::Tensor& among, int64_t k);

/// The k vectors of `x` [N,D] nearest to each of its `rows`, int64 [Q], other than that row; k < N.
Neighbours nearest_others(const torch::Tensor& x, const torch::Tensor& rows, int64_t k);

/// Each vector's distance to its k-th nearest other one, float64 [N]; k < N.
torch::Tensor neighbour_radii(const torch::Tensor& x, int64_t k);

/// How two sets of images cover each other; balls reach from each vector to its k-th nearest other
/// one of the same set. Errors: the jackknife's over groups of generated vectors; where the balls
/// are those of generated vectors, they change with the vectors that are left out. That of
/// coverage is the jackknife's over sqrt(2).
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

/// real: [N,D], generated: [M,D], each with more vectors than either k; groups: of the generated
/// vectors, int64 [M] of 0..count-1.
ManifoldScores manifold_scores(const torch::Tensor& real, const torch::Tensor& generated,
                               const torch::Tensor& groups, int64_t count,
                               const ManifoldOptions& options = {});

/// The share of generated vectors that are farther from the nearest real one than that one is from
/// its own nearest (Alaa 2022, "authenticity"): near 0 if training images are copied. All of `real`
/// is searched. Groups as in manifold_scores.
Measured authenticity(const torch::Tensor& real, const torch::Tensor& generated,
                      const torch::Tensor& groups, int64_t count);

}  // namespace ddpm::eval
