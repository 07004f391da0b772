#pragma once

#include "loops.h"

#include <c10/core/CPUAllocator.h>
#include <torch/types.h>

namespace ddpm::kernels {

/// Working memory on the CPU, aligned to 64 bytes; not initialised. From torch's allocator, which
/// memory profiles count.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t count)
      : data_(c10::GetCPUAllocator()->allocate(static_cast<size_t>(count) * sizeof(T))) {}
  T* get() const { return static_cast<T*>(data_.get()); }

 private:
  c10::DataPtr data_;
};

/// The numbers of a bfloat16 tensor.
inline Bf16* data_of(const torch::Tensor& t) { return static_cast<Bf16*>(t.data_ptr()); }

}  // namespace ddpm::kernels
