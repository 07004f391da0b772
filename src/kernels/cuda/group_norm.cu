#include "group_norm.h"
#include "group_norm_blocks.cuh"
#include "group_norm_slab.cuh"
#include "group_norm_slab16.cuh"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

// Chooses slabs or blocks of pixels, the type in memory, and vectors of 16 bytes if channels and
// addresses permit them.

namespace ddpm::kernels::cuda {
namespace {

template <class T, int V>
constexpr bool kHasSlab16 = std::is_same_v<T, __nv_bfloat16>&& V == kSlab16Vector;

// By slabs if they fit, else by blocks of pixels.
template <class T, class A, int V>
void normalise(const GroupNormShape& s, const GroupNormImages& images, const GroupNormArgs<A>& a,
               cudaStream_t stream) {
  if constexpr (kHasSlab16<T, V>) {
    const Slab16 slab = slab16_of(s, 1);
    if (slab.groups > 0) return slab16_forward<T>(s, slab, images, a, stream);
  }
  const Slab slab = slab_of<T, A, V>(s, 1);
  if (slab.groups > 0) {
    slab_forward<T, A, V>(s, slab, images, a, stream);
  } else {
    blocks_forward<T, A, V>(s, images, a, stream);
  }
}

template <class T, class A, int V>
void differentiate(const GroupNormShape& s, const GroupNormImages& images,
                   const GroupNormArgs<A>& a, cudaStream_t stream) {
  if constexpr (kHasSlab16<T, V>) {
    const Slab16 slab = slab16_of(s, 2);
    if (slab.groups > 0) return slab16_backward<T>(s, slab, images, a, stream);
  }
  const Slab slab = slab_of<T, A, V>(s, 2);
  if (slab.groups > 0) {
    slab_backward<T, A, V>(s, slab, images, a, stream);
  } else {
    blocks_backward<T, A, V>(s, images, a, stream);
  }
}

// Whether every vector of 16 bytes lies in one part of x, and all begin at multiples of 16 bytes.
bool permits_vectors(const GroupNormShape& s, const GroupNormImages& m, int64_t vector) {
  bool aligned = s.channels % vector == 0 && m.first % vector == 0;
  for (const void* p :
       {m.x, m.skip, static_cast<const void*>(m.y), m.dy, static_cast<const void*>(m.dx),
        static_cast<const void*>(m.d_skip), m.dx_addend, m.d_skip_addend}) {
    aligned = aligned && reinterpret_cast<uintptr_t>(p) % 16 == 0;
  }
  return aligned;
}

template <class T, class A>
void forward_of(const GroupNormShape& s, const GroupNormImages& images, const GroupNormArgs<A>& a,
                void* stream) {
  constexpr int kVector = 16 / sizeof(T);
  const auto queue = static_cast<cudaStream_t>(stream);
  if (permits_vectors(s, images, kVector)) {
    normalise<T, A, kVector>(s, images, a, queue);
  } else {
    normalise<T, A, 1>(s, images, a, queue);
  }
}

template <class T, class A>
void backward_of(const GroupNormShape& s, const GroupNormImages& images, const GroupNormArgs<A>& a,
                 void* stream) {
  constexpr int kVector = 16 / sizeof(T);
  const auto queue = static_cast<cudaStream_t>(stream);
  if (permits_vectors(s, images, kVector)) {
    differentiate<T, A, kVector>(s, images, a, queue);
  } else {
    differentiate<T, A, 1>(s, images, a, queue);
  }
}

}  // namespace

void group_norm_forward(const GroupNormShape& shape, Element element, const GroupNormImages& images,
                        const GroupNormArgs<float>& args, void* stream) {
  if (element == Element::kBFloat16) {
    forward_of<__nv_bfloat16>(shape, images, args, stream);
  } else if (element == Element::kFloat16) {
    forward_of<__half>(shape, images, args, stream);
  } else {
    forward_of<float>(shape, images, args, stream);
  }
}

void group_norm_forward(const GroupNormShape& shape, Element, const GroupNormImages& images,
                        const GroupNormArgs<double>& args, void* stream) {
  forward_of<double>(shape, images, args, stream);
}

void group_norm_backward(const GroupNormShape& shape, Element element,
                         const GroupNormImages& images, const GroupNormArgs<float>& args,
                         void* stream) {
  if (element == Element::kBFloat16) {
    backward_of<__nv_bfloat16>(shape, images, args, stream);
  } else if (element == Element::kFloat16) {
    backward_of<__half>(shape, images, args, stream);
  } else {
    backward_of<float>(shape, images, args, stream);
  }
}

void group_norm_backward(const GroupNormShape& shape, Element, const GroupNormImages& images,
                         const GroupNormArgs<double>& args, void* stream) {
  backward_of<double>(shape, images, args, stream);
}

}  // namespace ddpm::kernels::cuda
