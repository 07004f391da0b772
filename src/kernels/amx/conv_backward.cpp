#include "conv_backward.h"

#include "../cpu/buffer.h"
#include "../cpu/group_norm.h"
#include "conv_group.h"

#include <algorithm>
#include <optional>

#include <ATen/Parallel.h>

namespace ddpm::kernels::amx {
namespace {

class Backward {
 public:
  Backward(const ConvBackwardInputs& in, const InputGradients& to)
      : in_(in),
        s_(in.shape),
        to_(to),
        threads_(std::min<int64_t>(at::get_num_threads(),
                                   s_.has_image_per_thread() ? s_.batch : RowGroups(s_).count())),
        images_per_group_(s_.images_per_group((s_.batch + threads_ - 1) / threads_)),
        conv_sums_size_(WeightGradientSum::size(s_, 9)),
        sums_size_(conv_sums_size_ + (has_shortcut() ? WeightGradientSum::size(s_, 1) : 0)),
        sums_(threads_ * sums_size_) {
    if (!to.x.defined()) return;
    weight_transposed_.emplace(pack_weights(in.loops, in.weight, /*transposed=*/true));
    if (has_shortcut()) {
      shortcut_weight_transposed_.emplace(
          pack_weights(in.loops, in.shortcut_weight, /*transposed=*/true));
    }
  }

  ConvGradients compute() const {
    s_.has_image_per_thread() ? compute_by_images() : compute_by_rows();
    ConvGradients gradients;
    if (has_shortcut()) {
      gradients.shortcut = reduce_weight_gradients(s_, sums_.get() + conv_sums_size_, threads_,
                                                   sums_size_, in_.shortcut_weight);
    }
    gradients.conv = reduce_weight_gradients(s_, sums_.get(), threads_, sums_size_, in_.weight);
    return gradients;
  }

 private:
  // One thread's sums of the weight gradients.
  struct ThreadSums {
    WeightGradientSum conv;
    std::optional<WeightGradientSum> shortcut;

    ThreadSums(const Backward& b, int64_t thread, const ConvGroup& largest)
        : conv(b.in_.loops, b.s_, 9, largest, b.sums_.get() + thread * b.sums_size_) {
      if (!b.has_shortcut()) return;
      shortcut.emplace(b.in_.loops, b.s_, 1, largest,
                       b.sums_.get() + thread * b.sums_size_ + b.conv_sums_size_);
    }

    /// x: the group's first image as it came in; h: after the norm; dy, ds: the outputs' gradients.
    void add_group(const ConvGroup& g, const Bf16* x, const Bf16* h, const Bf16* dy,
                   const Bf16* ds) const {
      conv.add_group(g, h, dy);
      if (shortcut) shortcut->add_group(g, x, ds);
    }
  };

  // Images between the input and the convolution, computed again: the concatenated input, h and
  // the derivative of SiLU. Empty if there is no skip connection or no norm.
  struct Activations {
    Buffer<Bf16> concatenated, h, derivative;
    Activations(const Backward& b, int64_t images)
        : concatenated(b.in_.input.is_concatenated() ? images * b.s_.input_size() : 0),
          h(b.in_.norm ? images * b.s_.input_size() : 0),
          derivative(b.in_.norm ? images * b.s_.input_size() : 0) {}
  };

  // Calls body(thread, first, last) with each thread's part of 0 .. count - 1.
  template <class Body>
  void for_threads(int64_t count, const Body& body) const {
    at::parallel_for(0, threads_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        body(i, count * i / threads_, count * (i + 1) / threads_);
    });
  }

  void compute_by_images() const {
    for_threads(s_.batch, [&](int64_t thread, int64_t begin, int64_t end) {
      const ThreadSums sums(*this, thread, s_.image_group(images_per_group_));
      const BlockConvolutions transposed(in_.loops, s_, s_.out, s_.in, s_.image_group(1),
                                         has_shortcut());
      const Activations activations(*this, images_per_group_);
      for (int64_t first = begin; first < end; first += images_per_group_) {
        compute_images(sums, transposed, activations, first,
                       std::min(images_per_group_, end - first));
      }
    });
  }

  void compute_images(const ThreadSums& sums, const BlockConvolutions& transposed,
                      const Activations& activations, int64_t first, int64_t count) const {
    const Bf16* x = in_.input.images(first, count, activations.concatenated.get());
    for (int64_t i = 0; i < count; ++i) recompute_norm(activations, x, i, first + i);
    sums.add_group(s_.image_group(count), x, in_.norm ? activations.h.get() : x, dy(first),
                   ds(first));
    for (int64_t i = 0; weight_transposed_ && i < count; ++i) {
      // The gradients of the concatenated input and of h overwrite the activations, which are no
      // longer needed.
      const int64_t b = first + i;
      Bf16* dx = in_.input.is_concatenated() ? activations.concatenated.get() + i * s_.input_size()
                                             : data_of(to_.x) + b * s_.input_size();
      Bf16* dh = in_.norm ? activations.h.get() : dx;
      transposed.conv.convolve_group(s_.image_group(1), dy(b), weight_transposed_->get(), nullptr,
                                     nullptr, dh);
      norm_backward(activations, x, dh, dx, i, b);
      if (transposed.shortcut) {
        transposed.shortcut->convolve_group(s_.image_group(1), ds(b),
                                            shortcut_weight_transposed_->get(), nullptr, dx, dx);
      }
      if (in_.input.is_concatenated()) in_.input.split_gradient(dx, b, to_);
    }
  }

  // There are fewer images than threads: each thread takes rows of an image. Only the norm is
  // computed for full images.
  void compute_by_rows() const {
    const int64_t image = s_.input_size();
    const RowGroups groups(s_);
    const Activations activations(*this, s_.batch);
    const Buffer<Bf16> dh_buffer(in_.norm && weight_transposed_ ? s_.batch * image : 0);
    const Bf16* x = in_.input.images(0, s_.batch, activations.concatenated.get());
    for (int64_t b = 0; b < s_.batch; ++b) recompute_norm(activations, x, b, b);
    add_weight_gradients(groups, x, in_.norm ? activations.h.get() : x);
    if (!weight_transposed_) return;
    // All threads have read x: its gradient may overwrite the concatenated input.
    Bf16* dx = in_.input.is_concatenated() ? activations.concatenated.get() : data_of(to_.x);
    Bf16* dh = in_.norm ? dh_buffer.get() : dx;
    input_gradient(groups, 9, dy(0), *weight_transposed_, dh, /*add=*/false);
    for (int64_t b = 0; b < s_.batch; ++b)
      norm_backward(activations, x, dh + b * image, dx + b * image, b, b);
    if (has_shortcut())
      input_gradient(groups, 1, ds(0), *shortcut_weight_transposed_, dx, /*add=*/true);
    for (int64_t b = 0; in_.input.is_concatenated() && b < s_.batch; ++b)
      in_.input.split_gradient(dx + b * image, b, to_);
  }

  // x, h: all images.
  void add_weight_gradients(const RowGroups& groups, const Bf16* x, const Bf16* h) const {
    for_threads(groups.count(), [&](int64_t thread, int64_t begin, int64_t end) {
      const ThreadSums sums(*this, thread, groups.largest());
      for (int64_t g = begin; g < end; ++g) {
        const int64_t b = groups.image(g);
        sums.add_group(groups.group(g), x + b * s_.input_size(), h + b * s_.input_size(), dy(b),
                       ds(b));
      }
    });
  }

  // The transposed convolution of all images' gradients, written to dx or added to it.
  void input_gradient(const RowGroups& groups, int64_t taps, const Bf16* gradient,
                      const Buffer<Bf16>& weight, Bf16* dx, bool add) const {
    at::parallel_for(0, groups.count(), 1, [&](int64_t begin, int64_t end) {
      const GroupConvolution transposed(in_.loops, s_, taps, s_.out, s_.in, groups.largest());
      for (int64_t g = begin; g < end; ++g) {
        const int64_t b = groups.image(g);
        Bf16* to = dx + b * s_.input_size();
        transposed.convolve_group(groups.group(g), gradient + b * s_.output_size(), weight.get(),
                                  nullptr, add ? to : nullptr, to);
      }
    });
  }

  // h and the derivative of SiLU of image b, which is number i of those in memory.
  void recompute_norm(const Activations& activations, const Bf16* x, int64_t i, int64_t b) const {
    if (!in_.norm) return;
    const int64_t at = i * s_.input_size();
    cpu::group_norm_recompute_image(*in_.norm.shape, x + at, activations.h.get() + at,
                                    activations.derivative.get() + at, in_.norm.args, b);
  }
  void norm_backward(const Activations& activations, const Bf16* x, const Bf16* dh, Bf16* dx,
                     int64_t i, int64_t b) const {
    if (!in_.norm) return;
    const int64_t at = i * s_.input_size();
    cpu::group_norm_backward_image(*in_.norm.shape, x + at, dh, activations.derivative.get() + at,
                                   dx, in_.norm.args, b);
  }

  bool has_shortcut() const { return in_.shortcut_weight.defined(); }
  // The outputs' gradients of image b.
  const Bf16* dy(int64_t b) const { return data_of(in_.gradients.y) + b * s_.output_size(); }
  const Bf16* ds(int64_t b) const {
    return has_shortcut() ? data_of(in_.gradients.shortcut) + b * s_.output_size() : nullptr;
  }

  const ConvBackwardInputs& in_;
  const ConvShape& s_;
  const InputGradients& to_;
  int64_t threads_, images_per_group_;
  int64_t conv_sums_size_, sums_size_;  // of one thread
  Buffer<float> sums_;
  std::optional<Buffer<Bf16>> weight_transposed_, shortcut_weight_transposed_;
};

}  // namespace

ConvGradients conv_backward(const ConvBackwardInputs& inputs, const InputGradients& to) {
  return Backward(inputs, to).compute();
}

}  // namespace ddpm::kernels::amx
