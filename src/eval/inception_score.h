#pragma once

#include "ddpm/eval/jackknife.h"

#include <cstdint>

#include <torch/types.h>

namespace ddpm::eval {

/// exp(E_x KL(p(y|x) || p(y))) (Salimans 2016) of logits [N,K], N >= splits: the mean over `splits`
/// contiguous parts, in float64. groups: that of each sample, int64 [N] in 0..count-1. Error: a
/// jackknife over the groups.
Measured inception_score(const torch::Tensor& logits, const torch::Tensor& groups, int64_t count,
                         int64_t splits);

}  // namespace ddpm::eval
