#pragma once

#include "ddpm/base/rng.h"

#include <vector>

#include <torch/types.h>

// Operations on each element of tensors: random numbers, casts, averages.

namespace ddpm::kernels {

/// out[b, ...] ~ N(0,1), a function of (key, ids[b], step, position in the row) alone. The numbers
/// do not depend on the batch split, the device (except float rounding) or the memory format.
/// Philox4x32-10, then Box and Muller 1958. out: [B, ...] float32, float64, bfloat16 or float16,
/// whose rows are contiguous or channels_last; ids: int64 [B] on out's device. Queued on the
/// current stream; no host sync.
void fill_normal_(const torch::Tensor& out, RngKey key, const torch::Tensor& ids,
                  uint32_t step = 0);

/// out[b] uniform in low..high, both included: a function of (key, ids[b]) alone. out, ids: int64
/// [B].
void fill_uniform_int_(const torch::Tensor& out, RngKey key, const torch::Tensor& ids, int64_t low,
                       int64_t high);

/// out uniform in [-bound, bound), a function of (key, id, position). out: float32 or float64, on
/// the CPU.
void fill_uniform_(const torch::Tensor& out, RngKey key, uint64_t id, double bound);

/// The tensors in bfloat16. On a GPU all casts are two or three launches, and so are those of the
/// gradients back to float32. tensors: float32.
std::vector<torch::Tensor> cast_all_to_bf16(const std::vector<torch::Tensor>& tensors);

/// to += weight (from - to) of each pair, at::_foreach_lerp_; weight: one number, on the tensors'
/// device. On a GPU, if all are float32, two or three launches.
void lerp_all_(const std::vector<torch::Tensor>& to, const std::vector<torch::Tensor>& from,
               const torch::Tensor& weight);

}  // namespace ddpm::kernels
