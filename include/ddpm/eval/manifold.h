#pragma once

#include "ddpm/eval/jackknife.h"

#include <cstdint>

#include <torch/types.h>

namespace ddpm::eval {

/// Distances and indices of the nearest vectors, the nearest first; both [Q,k].
struct Neighbours {
  torch::Tensor distances;  ///< float64
  torch::Tensor indices;    ///< int64, rows of the searched matrix
};

/// The k vectors of `among` [N,D] nearest to each of `queries` [Q,D], k <= N. An exact search,
/// block by block of both, on the tensors' device. Distances are float64, and exactly 0 between
/// equal vectors.
Neighbours nearest(const torch::Tensor& queries, const torch::Tensor& among, int64_t k);

/// The k vectors of `x` [N,D] nearest to each of its `rows`, int64 [Q], other than that row; k < N.
Neighbours nearest_others(const torch::Tensor& x, const torch::Tensor& rows, int64_t k);

/// Each vector's distance to its k-th nearest other one, float64 [N]; k < N.
torch::Tensor neighbour_radii(const torch::Tensor& x, int64_t k);

/// How two sets of images cover each other. A ball around a vector reaches to its k-th nearest
/// other vector of the same set. Errors: a jackknife over groups of generated vectors. Balls of
/// generated vectors change with the vectors that are left out. The error of coverage is the
/// jackknife's divided by sqrt(2).
struct ManifoldScores {
  Measured precision;  ///< fraction of generated in any real ball (Kynkaanniemi 2019), k = 3
  Measured recall;     ///< fraction of real in any generated ball (Kynkaanniemi 2019), k = 3
  Measured density;  ///< real balls that hold a generated vector, over k (Naeem 2020, Eq. 2), k = 5
  Measured
      coverage;  ///< fraction of real balls that hold a generated vector (Naeem 2020, Eq. 3), k = 5
};

struct ManifoldOptions {
  int64_t k_precision = 3;
  int64_t k_density = 5;
};

/// real: [N,D], generated: [M,D], N and M greater than either k. groups: that of each generated
/// vector, int64 [M] in 0..count-1.
ManifoldScores manifold_scores(const torch::Tensor& real, const torch::Tensor& generated,
                               const torch::Tensor& groups, int64_t count,
                               const ManifoldOptions& options = {});

/// The fraction of generated vectors that are farther from their nearest real vector than that is
/// from its own nearest (Alaa 2022, "authenticity"): near 0 if training images are copied. Searches
/// all of `real`. Groups as in manifold_scores.
Measured authenticity(const torch::Tensor& real, const torch::Tensor& generated,
                      const torch::Tensor& groups, int64_t count);

}  // namespace ddpm::eval
