#include "group_norm.h"

#include "loops.h"

#include <ATen/Parallel.h>

namespace ddpm::kernels::cpu {
namespace {

// Calls body(image, offset of its first element), in parallel over the images. With fewer images
// than threads the images are processed one after another, and for_blocks is parallel instead. (A
// parallel_for inside another is serial.) The results are the same.
template <class Body>
void for_images(const GroupNormShape& s, const Body& body) {
  const int64_t image = s.pixels * s.channels;
  if (s.batch < at::get_num_threads()) {
    for (int64_t b = 0; b < s.batch; ++b) body(b, b * image);
    return;
  }
  at::parallel_for(0, s.batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) body(b, b * image);
  });
}

// Calls body(block, its pixels, offset of its first element from the image's).
template <class Body>
void for_blocks(const GroupNormShape& s, const Body& body) {
  at::parallel_for(0, s.blocks(), 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(i, s.block_pixels(i), i * s.block * s.channels);
  });
}

template <class Body>
void for_groups(const GroupNormShape& s, const Body& body) {
  for (int64_t g = 0; g < s.groups; ++g) body(g, g * s.group_size(), (g + 1) * s.group_size());
}

template <class T, class A>
void apply_image(const GroupNormShape& s, const GroupNormLoops<T, A>& loops, const T* x, T* y,
                 T* derivative, const GroupNormArgs<A>& args, int64_t b) {
  for_blocks(s, [&](int64_t, int64_t pixels, int64_t offset) {
    loops.apply(x + offset, y + offset, derivative ? derivative + offset : nullptr, pixels,
                s.channels, args.coefficients_of(s, b), s.silu);
  });
}

template <class T, class A>
void forward_image(const GroupNormShape& s, const GroupNormLoops<T, A>& loops, const T* x, T* y,
                   const GroupNormArgs<A>& args, int64_t b) {
  for_blocks(s, [&](int64_t block, int64_t pixels, int64_t offset) {
    loops.moments(x + offset, pixels, s.channels, args.partial_of(s, b, block, 0));
  });
  for (int64_t c = 0; c < s.channels; ++c) merge_moments(s, args, b, c);
  for_groups(s, [&](int64_t g, int64_t first, int64_t last) {
    const GroupStatistics group = group_statistics(s, args, b, g);
    args.mean[b * s.groups + g] = group.mean;
    args.rstd[b * s.groups + g] = group.rstd;
    for (int64_t c = first; c < last; ++c) channel_affine(s, args, b, c, group);
  });
  apply_image(s, loops, x, y, static_cast<T*>(nullptr), args, b);
}

template <class A>
void saved_affine(const GroupNormShape& s, const GroupNormArgs<A>& args, int64_t b) {
  for_groups(s, [&](int64_t g, int64_t first, int64_t last) {
    const GroupStatistics group = saved_statistics(s, args, b, g);
    for (int64_t c = first; c < last; ++c) channel_affine(s, args, b, c, group);
  });
}

template <class T, class A>
void backward_image(const GroupNormShape& s, const GroupNormLoops<T, A>& loops, const T* x,
                    const T* dy, const T* derivative, T* dx, const GroupNormArgs<A>& args,
                    int64_t b) {
  const A* k = args.coefficients_of(s, b);
  saved_affine(s, args, b);
  for_blocks(s, [&](int64_t block, int64_t pixels, int64_t offset) {
    loops.sums(x + offset, dy + offset, derivative ? derivative + offset : nullptr, pixels,
               s.channels, k, s.silu, args.partial_of(s, b, block, 0));
  });
  for (int64_t c = 0; c < s.channels; ++c) merge_sums(s, args, b, c);
  for_groups(s, [&](int64_t g, int64_t first, int64_t last) {
    const GroupStatistics group = saved_statistics(s, args, b, g);
    const GroupGradient gradient = group_gradient(s, args, b, g, group);
    for (int64_t c = first; c < last; ++c) channel_gradient(s, args, b, c, group, gradient);
  });
  for_blocks(s, [&](int64_t, int64_t pixels, int64_t offset) {
    loops.gradient(x + offset, dy + offset, derivative ? derivative + offset : nullptr, dx + offset,
                   pixels, s.channels, k, s.silu);
  });
}

template <class T, class A>
void forward(const GroupNormShape& s, const GroupNormLoops<T, A>& loops, const T* x, T* y,
             const GroupNormArgs<A>& args) {
  for_images(
      s, [&](int64_t b, int64_t image) { forward_image(s, loops, x + image, y + image, args, b); });
}

template <class T, class A>
void backward(const GroupNormShape& s, const GroupNormLoops<T, A>& loops, const T* x, const T* dy,
              T* dx, const GroupNormArgs<A>& args) {
  for_images(s, [&](int64_t b, int64_t image) {
    backward_image(s, loops, x + image, dy + image, static_cast<const T*>(nullptr), dx + image,
                   args, b);
  });
}

}  // namespace

void group_norm_forward(const GroupNormShape& shape, Element element, const void* x, void* y,
                        const GroupNormArgs<float>& args) {
  if (element == Element::kBFloat16) {
    forward(shape, cpu_loops().group_norm_bf16, static_cast<const Bf16*>(x), static_cast<Bf16*>(y),
            args);
  } else {
    forward(shape, cpu_loops().group_norm_f32, static_cast<const float*>(x), static_cast<float*>(y),
            args);
  }
}

void group_norm_forward(const GroupNormShape& shape, Element, const void* x, void* y,
                        const GroupNormArgs<double>& args) {
  forward(shape, cpu_loops().group_norm_f64, static_cast<const double*>(x), static_cast<double*>(y),
          args);
}

void group_norm_backward(const GroupNormShape& shape, Element element, const void* x,
                         const void* dy, void* dx, const GroupNormArgs<float>& args) {
  if (element == Element::kBFloat16) {
    backward(shape, cpu_loops().group_norm_bf16, static_cast<const Bf16*>(x),
             static_cast<const Bf16*>(dy), static_cast<Bf16*>(dx), args);
  } else {
    backward(shape, cpu_loops().group_norm_f32, static_cast<const float*>(x),
             static_cast<const float*>(dy), static_cast<float*>(dx), args);
  }
}

void group_norm_backward(const GroupNormShape& shape, Element, const void* x, const void* dy,
                         void* dx, const GroupNormArgs<double>& args) {
  backward(shape, cpu_loops().group_norm_f64, static_cast<const double*>(x),
           static_cast<const double*>(dy), static_cast<double*>(dx), args);
}

void group_norm_forward_image(const GroupNormShape& shape, const Bf16* x, Bf16* y,
                              const GroupNormArgs<float>& args, int64_t b) {
  forward_image(shape, cpu_loops().group_norm_bf16, x, y, args, b);
}

void group_norm_recompute_image(const GroupNormShape& shape, const Bf16* x, Bf16* y,
                                Bf16* derivative, const GroupNormArgs<float>& args, int64_t b) {
  saved_affine(shape, args, b);
  apply_image(shape, cpu_loops().group_norm_bf16, x, y, derivative, args, b);
}

void group_norm_backward_image(const GroupNormShape& shape, const Bf16* x, const Bf16* dy,
                               const Bf16* derivative, Bf16* dx, const GroupNormArgs<float>& args,
                               int64_t b) {
  backward_image(shape, cpu_loops().group_norm_bf16, x, dy, derivative, dx, args, b);
}

}  // namespace ddpm::kernels::cpu
