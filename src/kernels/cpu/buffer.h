#pragma once

#include "loops.h"

#include <c10/core/CPUAllocator.h>
#include <torch/types.h>

namespace ddpm::kernels {

/// Working memory on the CPU, aligned to 64 bytes; nothing in it is set.
template <class T>
class Space {
 public:
  explicit Space(int64_t count)
      : data_(c10::GetCPUAllocator()->allocate(static_cast<size_t>(count) * sizeof(T))) {}
  T* get() const { return static_cast<T*>(data_.get()); }

 private:
  c10::DataPtr data_;
};

/// A bfloat16 tensor's numbers.
inline Bf16* data_of(const torch::Tensor& t) { return static_cast<Bf16*>(t.data_ptr()); }

}  // namespace ddpm::kernels
