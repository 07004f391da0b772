#include "pickle_node.h"

#include <algorithm>

#include <torch/types.h>

namespace ddpm::io {
namespace {

constexpr int64_t kMaxExpanded = 1 << 16;  // elements of a tensor that repeats its memory

}  // namespace

std::optional<torch::Tensor> tensor_in(const torch::Tensor& memory, int64_t offset,
                                       const std::vector<int64_t>& sizes,
                                       const std::vector<int64_t>& strides) {
  if (offset < 0 || sizes.size() != strides.size()) return std::nullopt;
  int64_t count = 1, last = offset, reach = 0;
  bool over = false, empty = false;
  for (size_t i = 0; i < sizes.size(); ++i) {
    empty = empty || sizes[i] == 0;
    over = over || __builtin_mul_overflow(count, std::max<int64_t>(sizes[i], 1), &count) ||
           __builtin_mul_overflow(std::max<int64_t>(sizes[i] - 1, 0), strides[i], &reach) ||
           __builtin_add_overflow(last, reach, &last);
  }
  if (over) return std::nullopt;
  if (empty) return torch::empty(sizes, memory.options());
  if (last >= memory.numel() || count > std::max(memory.numel(), kMaxExpanded)) return std::nullopt;
  return memory.as_strided(sizes, strides, offset);
}

}  // namespace ddpm::io
