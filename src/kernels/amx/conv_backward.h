#pragma once

#include "../cpu/group_norm.h"
#include "conv_group.h"

#include <utility>

// The forward and the backward pass of tile_convolution.cpp, image by image.

namespace ddpm::kernels::tiles {

/// A convolution's weight and bias; both may be undefined.
struct Weights {
  torch::Tensor weight, bias;
  explicit operator bool() const { return weight.defined(); }
};

/// What is computed: y from the norm, the 3x3 convolution and what is added; s, where there is a
/// 1x1 convolution, from what came in.
struct Results {
  torch::Tensor y, s;
};

class Forward {
 public:
  Forward(const TileConvLoops& loops, const Shape& s, const Source& source, const Before& before,
          const Weights& conv, const Weights& shortcut, const torch::Tensor& residual)
      : loops_(loops),
        s_(s),
        source_(source),
        before_(before),
        weight_(packed(loops, conv.weight, false)),
        bias_(conv.bias.contiguous()),
        residual_(residual) {
    result_.y = map();
    if (!shortcut) return;
    result_.s = map();
    shortcut_weight_.emplace(packed(loops, shortcut.weight, false));
    shortcut_bias_ = shortcut.bias.contiguous();
  }

  Results run() const {
    s_.images_suffice() ? by_images() : by_rows();
    return result_;
  }

 private:
  Convolutions convolutions(const ConvGroup& most) const {
    return {loops_, s_, s_.in, s_.out, most, shortcut_weight_.has_value()};
  }

  void by_images() const {
    const int64_t image = s_.pixels() * s_.in;
    at::parallel_for(0, s_.batch, 1, [&](int64_t begin, int64_t end) {
      const Convolutions work = convolutions(s_.group(1));
      const Space<Bf16> joined(source_.joined() ? image : 0), h(before_ ? image : 0);
      for (int64_t i = begin; i < end; ++i) {
        const Bf16* x = source_.images(i, 1, joined.get());
        if (before_) cpu::group_norm_image(*before_.shape, x, h.get(), before_.args, i);
        one(work, s_.group(1), i, x, before_ ? h.get() : x);
      }
    });
  }

  // Few images: the rows of each are divided.
  void by_rows() const {
    const int64_t image = s_.pixels() * s_.in;
    const Bands bands(s_);
    const Space<Bf16> joined(source_.joined() ? s_.batch * image : 0);
    const Space<Bf16> h(before_ ? s_.batch * image : 0);
    const Bf16* x = source_.images(0, s_.batch, joined.get());
    if (before_)
      cpu::group_norm_forward(*before_.shape, Element::kBFloat16, x, h.get(), before_.args);
    at::parallel_for(0, bands.size(), 1, [&](int64_t begin, int64_t end) {
      const Convolutions work = convolutions(bands.largest());
      for (int64_t band = begin; band < end; ++band) {
        const int64_t i = bands.image(band);
        one(work, bands.rows(band), i, x + i * image, (before_ ? h.get() : x) + i * image);
      }
    });
  }

  // Group g of the i-th image, which came in as x and was made h.
  void one(const Convolutions& work, const ConvGroup& g, int64_t i, const Bf16* x,
           const Bf16* h) const {
    const int64_t at = i * s_.pixels() * s_.out;
    work.conv(g, h, weight_.get(), bias_.data_ptr<float>(),
              residual_.defined() ? data_of(residual_) + at : nullptr, data_of(result_.y) + at);
    if (!work.shortcut) return;
    (*work.shortcut)(g, x, shortcut_weight_->get(), shortcut_bias_.data_ptr<float>(), nullptr,
                     data_of(result_.s) + at);
  }

  torch::Tensor map() const {
    return torch::empty({s_.batch, s_.out, s_.height, s_.width}, torch::dtype(torch::kBFloat16),
                        kChannelsLast);
  }

  const TileConvLoops& loops_;
  const Shape& s_;
  const Source& source_;
  const Before& before_;
  Space<Bf16> weight_;
  torch::Tensor bias_, residual_;
  std::optional<Space<Bf16>> shortcut_weight_;
  torch::Tensor shortcut_bias_;
  Results result_;
};

/// Gradients of what came in; undefined where they are not wanted.
struct OfSource {
  torch::Tensor x, beside;
};

class Backward {
 public:
  /// shortcut: the 1x1 convolution's weight, or undefined, and d the results' gradients.
  Backward(const TileConvLoops& loops, const Shape& s, const Source& source, const Before& before,
           const torch::Tensor& weight, const torch::Tensor& shortcut, const Results& d,
           const OfSource& to)
      : loops_(loops),
        s_(s),
        source_(source),
        before_(before),
        weight_(weight),
        shortcut_(shortcut),
        d_(d),
        to_(to),
        shares_(std::min<int64_t>(at::get_num_threads(),
                                  s.images_suffice() ? s.batch : Bands(s).size())),
        together_(s.images_together((s.batch + shares_ - 1) / shares_)),
        size_(WeightGradient::size(s, 9)),
        step_(size_ + (shortcut.defined() ? WeightGradient::size(s, 1) : 0)),
        sums_(shares_ * step_) {
    if (!to.x.defined()) return;
    turned_weight_.emplace(packed(loops, weight, true));
    if (shortcut.defined()) turned_shortcut_.emplace(packed(loops, shortcut, true));
  }

  /// Gradients of weight and bias, and of the shortcut's; those of the source go to where they
  /// belong.
  std::pair<OfWeights, OfWeights> run() const {
    s_.images_suffice() ? by_images() : by_rows();
    OfWeights of_shortcut;
    if (shortcut_.defined())
      of_shortcut = collect(s_, sums_.get() + size_, shares_, step_, shortcut_);
    return {collect(s_, sums_.get(), shares_, step_, weight_), of_shortcut};
  }

 private:
  // Sums and working memory of one share, for groups of at most `most` positions.
  struct Share {
    WeightGradient gradient;
    std::optional<WeightGradient> shortcut_gradient;

    Share(const Backward& b, int64_t share, const ConvGroup& most)
        : gradient(b.loops_, b.s_, 9, most, b.sums_.get() + share * b.step_) {
      if (!b.shortcut_.defined()) return;
      shortcut_gradient.emplace(b.loops_, b.s_, 1, most, b.sums_.get() + share * b.step_ + b.size_);
    }

    /// Of a group in images that came in as x and were made h; dy and ds: theirs.
    void add(const ConvGroup& g, const Bf16* x, const Bf16* h, const Bf16* dy,
             const Bf16* ds) const {
      gradient.add(g, h, dy);
      if (shortcut_gradient) shortcut_gradient->add(g, x, ds);
    }
  };

  // What images are joined to, and what lies between norm and convolution.
  struct Between {
    Space<Bf16> joined, h, slope;
    Between(const Backward& b, int64_t images)
        : joined(b.source_.joined() ? images * b.image() : 0),
          h(b.before_ ? images * b.image() : 0),
          slope(b.before_ ? images * b.image() : 0) {}
  };

  // Calls body(share, first, last) with each share's part of `count`.
  template <class Body>
  void for_shares(int64_t count, const Body& body) const {
    at::parallel_for(0, shares_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) body(i, count * i / shares_, count * (i + 1) / shares_);
    });
  }

  void by_images() const {
    for_shares(s_.batch, [&](int64_t i, int64_t begin, int64_t end) {
      const Share share(*this, i, s_.group(together_));
      const Convolutions turned(loops_, s_, s_.out, s_.in, s_.group(1), shortcut_.defined());
      const Between between(*this, together_);
      for (int64_t first = begin; first < end; first += together_)
        images(share, turned, between, first, std::min(together_, end - first));
    });
  }

  void images(const Share& share, const Convolutions& turned, const Between& between, int64_t first,
              int64_t count) const {
    const Bf16* x = source_.images(first, count, between.joined.get());
    for (int64_t i = 0; i < count; ++i) norm_again(between, x, i, first + i);
    share.add(s_.group(count), x, before_ ? between.h.get() : x, dy(first), ds(first));
    for (int64_t i = 0; turned_weight_ && i < count; ++i) {
      // Where two are joined, or a norm follows, in the place of what is not needed any more.
      const int64_t b = first + i;
      Bf16* dx =
          source_.joined() ? between.joined.get() + i * image() : data_of(to_.x) + b * image();
      Bf16* dh = before_ ? between.h.get() : dx;
      turned.conv(s_.group(1), dy(b), turned_weight_->get(), nullptr, nullptr, dh);
      norm_backward(between, x, dh, dx, i, b);
      if (turned.shortcut)
        (*turned.shortcut)(s_.group(1), ds(b), turned_shortcut_->get(), nullptr, dx, dx);
      if (source_.joined()) source_.split(dx, b, to_.x, to_.beside);
    }
  }

  // Few images: the rows of each are divided; between, the norm goes over whole images.
  void by_rows() const {
    const Bands bands(s_);
    const Between between(*this, s_.batch);
    const Space<Bf16> d_between(before_ && turned_weight_ ? s_.batch * image() : 0);
    const Bf16* x = source_.images(0, s_.batch, between.joined.get());
    for (int64_t b = 0; b < s_.batch; ++b) norm_again(between, x, b, b);
    Bf16* dx = source_.joined() ? between.joined.get() : turned_weight_ ? data_of(to_.x) : nullptr;
    Bf16* dh = before_ ? d_between.get() : dx;
    const Bf16* h = before_ ? between.h.get() : x;
    for_shares(bands.size(), [&](int64_t i, int64_t begin, int64_t end) {
      const Share share(*this, i, bands.largest());
      for (int64_t band = begin; band < end; ++band) {
        const int64_t b = bands.image(band);
        share.add(bands.rows(band), x + b * image(), h + b * image(), dy(b), ds(b));
      }
    });
    if (!turned_weight_) return;
    // Now that all have read x, its gradient may lie where two were joined.
    turn(bands, 9, dy(0), *turned_weight_, dh, /*more=*/false);
    for (int64_t b = 0; b < s_.batch; ++b)
      norm_backward(between, x, dh + b * image(), dx + b * image(), b, b);
    if (turned_shortcut_) turn(bands, 1, ds(0), *turned_shortcut_, dx, /*more=*/true);
    for (int64_t b = 0; source_.joined() && b < s_.batch; ++b)
      source_.split(dx + b * image(), b, to_.x, to_.beside);
  }

  // The turned convolution of all images' gradients, to dx or added to it.
  void turn(const Bands& bands, int64_t taps, const Bf16* gradient, const Space<Bf16>& weight,
            Bf16* dx, bool more) const {
    at::parallel_for(0, bands.size(), 1, [&](int64_t begin, int64_t end) {
      const GroupConvolution turned(loops_, s_, taps, s_.out, s_.in, bands.largest());
      for (int64_t band = begin; band < end; ++band) {
        const int64_t b = bands.image(band);
        Bf16* to = dx + b * image();
        turned(bands.rows(band), gradient + b * s_.pixels() * s_.out, weight.get(), nullptr,
               more ? to : nullptr, to);
      }
    });
  }

  // Of image b, the i-th of those in memory.
  void norm_again(const Between& between, const Bf16* x, int64_t i, int64_t b) const {
    if (!before_) return;
    cpu::group_norm_image_again(*before_.shape, x + i * image(), between.h.get() + i * image(),
                                between.slope.get() + i * image(), before_.args, b);
  }
  void norm_backward(const Between& between, const Bf16* x, const Bf16* dh, Bf16* dx, int64_t i,
                     int64_t b) const {
    if (!before_) return;
    cpu::group_norm_image_backward(*before_.shape, x + i * image(), dh,
                                   between.slope.get() + i * image(), dx, before_.args, b);
  }
  const Bf16* dy(int64_t b) const { return data_of(d_.y) + b * s_.pixels() * s_.out; }
  const Bf16* ds(int64_t b) const {
    return d_.s.defined() ? data_of(d_.s) + b * s_.pixels() * s_.out : nullptr;
  }
  int64_t image() const { return s_.pixels() * s_.in; }

  const TileConvLoops& loops_;
  const Shape& s_;
  const Source& source_;
  const Before& before_;
  const torch::Tensor &weight_, &shortcut_;
  const Results& d_;
  const OfSource& to_;
  int64_t shares_, together_, size_, step_;
  Space<float> sums_;
  std::optional<Space<Bf16>> turned_weight_, turned_shortcut_;
};

}  // namespace ddpm::kernels::tiles
