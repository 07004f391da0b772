#pragma once

#include "ddpm/eval/frechet.h"

#include <cstdint>

#include <torch/types.h>

namespace ddpm::eval {

/// exp(E_x KL(p(y|x) || p(y))) (Salimans 2016) of logits [N,K], N >= splits: mean and standard
/// deviation over `splits` groups of neighbouring rows, in float64.
Measured inception_score(const torch::Tensor& logits, int64_t splits);

}  // namespace ddpm::eval
