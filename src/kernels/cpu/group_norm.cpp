#include "../cpu_loops.h"
#include "../group_norm_device.h"

#include <ATen/Parallel.h>

namespace ddpm::kernels::cpu {
namespace {

// Images side by side; where there are fewer than threads, the tiles of each (a parallel_for within
// another is serial). What is computed is the same.
template <class Body>
void for_images(const GroupNormShape& s, const Body& body) {
  if (s.batch < at::get_num_threads()) {
    for (int64_t b = 0; b < s.batch; ++b) body(b);
    return;
  }
  at::parallel_for(0, s.batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) body(b);
  });
}

// body(tile, its pixels, the offset of its first element)
template <class Body>
void for_tiles(const GroupNormShape& s, int64_t b, const Body& body) {
  at::parallel_for(0, s.tiles(), 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      body(i, s.tile_pixels(i), (b * s.pixels + i * s.tile) * s.channels);
  });
}

template <class Body>
void for_groups(const GroupNormShape& s, const Body& body) {
  for (int64_t g = 0; g < s.groups; ++g) body(g, g * s.group_size(), (g + 1) * s.group_size());
}

template <class T, class A>
void forward(const GroupNormShape& s, const GroupNormLoops<T, A>& loops, const T* x, T* y,
             const GroupNormArgs<A>& args) {
  for_images(s, [&](int64_t b) {
    for_tiles(s, b, [&](int64_t tile, int64_t pixels, int64_t offset) {
      loops.moments(x + offset, pixels, s.channels, args.partial_of(s, b, tile, 0));
    });
    for (int64_t c = 0; c < s.channels; ++c) merge_moments(s, args, b, c);
    for_groups(s, [&](int64_t g, int64_t first, int64_t last) {
      const GroupStatistics group = group_statistics(s, args, b, g);
      args.mean[b * s.groups + g] = group.mean;
      args.rstd[b * s.groups + g] = group.rstd;
      for (int64_t c = first; c < last; ++c) channel_affine(s, args, b, c, group);
    });
    for_tiles(s, b, [&](int64_t, int64_t pixels, int64_t offset) {
      loops.apply(x + offset, y + offset, pixels, s.channels, args.coefficients_of(s, b), s.silu);
    });
  });
}

template <class T, class A>
void backward(const GroupNormShape& s, const GroupNormLoops<T, A>& loops, const T* x, const T* dy,
              T* dx, const GroupNormArgs<A>& args) {
  for_images(s, [&](int64_t b) {
    const A* k = args.coefficients_of(s, b);
    for_groups(s, [&](int64_t g, int64_t first, int64_t last) {
      const GroupStatistics group = saved_statistics(s, args, b, g);
      for (int64_t c = first; c < last; ++c) channel_affine(s, args, b, c, group);
    });
    for_tiles(s, b, [&](int64_t tile, int64_t pixels, int64_t offset) {
      loops.sums(x + offset, dy + offset, pixels, s.channels, k, s.silu,
                 args.partial_of(s, b, tile, 0));
    });
    for (int64_t c = 0; c < s.channels; ++c) merge_sums(s, args, b, c);
    for_groups(s, [&](int64_t g, int64_t first, int64_t last) {
      const GroupStatistics group = saved_statistics(s, args, b, g);
      const GroupGradient gradient = group_gradient(s, args, b, g, group);
      for (int64_t c = first; c < last; ++c) channel_gradient(s, args, b, c, group, gradient);
    });
    for_tiles(s, b, [&](int64_t, int64_t pixels, int64_t offset) {
      loops.gradient(x + offset, dy + offset, dx + offset, pixels, s.channels, k, s.silu);
    });
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

}  // namespace ddpm::kernels::cpu
