#pragma once

#include "ddpm/eval/jackknife.h"

#include <cstdint>

#include <torch/types.h>

namespace ddpm::eval {

/// exp(E_x KL(p(y|x) || p(y))) (Salimans 2016) of logits [N,K], N >= splits: the mean over `splits`
/// stretches of neighbouring rows, in float64. The samples are dealt to groups, int64 [N] of
/// 0..count-1; error: the jackknife's over them.
Measured inception_score(const torch::Tensor& logits, const torch::Tensor& groups, int64_t count,
                         int64_t splits);

}  // namespace ddpm::eval
