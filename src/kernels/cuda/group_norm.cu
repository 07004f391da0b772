#include "group_norm.h"
#include "group_norm_blocks.cuh"
#include "group_norm_slab.cuh"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

// Chooses slabs or blocks of pixels, the type in memory, and vectors of 16 bytes if channels and
// addresses permit them.

namespace ddpm::kernels::cuda {
namespace {

// By slabs if they fit, else by blocks of pixels.
template <class T, class A, int V>
void normalise(const GroupNormShape& s, const T* x, T* y, const GroupNormArgs<A>& a,
               cudaStream_t stream) {
  const Slab slab = slab_of<T, A, V>(s, 1);
  if (slab.groups > 0) {
    slab_forward<T, A, V>(s, slab, x, y, a, stream);
  } else {
    blocks_forward<T, A, V>(s, x, y, a, stream);
  }
}

template <class T, class A, int V>
void differentiate(const GroupNormShape& s, const T* x, const T* dy, T* dx,
                   const GroupNormArgs<A>& a, cudaStream_t stream) {
  const Slab slab = slab_of<T, A, V>(s, 2);
  if (slab.groups > 0) {
    slab_backward<T, A, V>(s, slab, x, dy, dx, a, stream);
  } else {
    blocks_backward<T, A, V>(s, x, dy, dx, a, stream);
  }
}

bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

template <class T, class A>
void forward_of(const GroupNormShape& s, const void* x, void* y, const GroupNormArgs<A>& a,
                void* stream) {
  constexpr int kVector = 16 / sizeof(T);
  const auto* from = static_cast<const T*>(x);
  auto* to = static_cast<T*>(y);
  const auto queue = static_cast<cudaStream_t>(stream);
  if (s.channels % kVector == 0 && aligned(x) && aligned(y)) {
    normalise<T, A, kVector>(s, from, to, a, queue);
  } else {
    normalise<T, A, 1>(s, from, to, a, queue);
  }
}

template <class T, class A>
void backward_of(const GroupNormShape& s, const void* x, const void* dy, void* dx,
                 const GroupNormArgs<A>& a, void* stream) {
  constexpr int kVector = 16 / sizeof(T);
  const auto *from = static_cast<const T*>(x), *gradient = static_cast<const T*>(dy);
  auto* to = static_cast<T*>(dx);
  const auto queue = static_cast<cudaStream_t>(stream);
  if (s.channels % kVector == 0 && aligned(x) && aligned(dy) && aligned(dx)) {
    differentiate<T, A, kVector>(s, from, gradient, to, a, queue);
  } else {
    differentiate<T, A, 1>(s, from, gradient, to, a, queue);
  }
}

}  // namespace

void group_norm_forward(const GroupNormShape& shape, Element element, const void* x, void* y,
                        const GroupNormArgs<float>& args, void* stream) {
  if (element == Element::kBFloat16) {
    forward_of<__nv_bfloat16>(shape, x, y, args, stream);
  } else if (element == Element::kFloat16) {
    forward_of<__half>(shape, x, y, args, stream);
  } else {
    forward_of<float>(shape, x, y, args, stream);
  }
}

void group_norm_forward(const GroupNormShape& shape, Element, const void* x, void* y,
                        const GroupNormArgs<double>& args, void* stream) {
  forward_of<double>(shape, x, y, args, stream);
}

void group_norm_backward(const GroupNormShape& shape, Element element, const void* x,
                         const void* dy, void* dx, const GroupNormArgs<float>& args, void* stream) {
  if (element == Element::kBFloat16) {
    backward_of<__nv_bfloat16>(shape, x, dy, dx, args, stream);
  } else if (element == Element::kFloat16) {
    backward_of<__half>(shape, x, dy, dx, args, stream);
  } else {
    backward_of<float>(shape, x, dy, dx, args, stream);
  }
}

void group_norm_backward(const GroupNormShape& shape, Element, const void* x, const void* dy,
                         void* dx, const GroupNormArgs<double>& args, void* stream) {
  backward_of<double>(shape, x, dy, dx, args, stream);
}

}  // namespace ddpm::kernels::cuda
