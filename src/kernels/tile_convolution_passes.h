#pragma once

#include "group_norm_image.h"
#include "tile_convolution_parts.h"

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
    s_.batch >= at::get_num_threads() ? by_images() : by_rows();
    return result_;
  }

 private:
  // Working memory of one thread, for groups of at most `most` positions.
  struct Workers {
    GroupConvolution conv;
    std::optional<GroupConvolution> shortcut;
  };
  Workers workers(const ConvGroup& most) const {
    Workers w{{loops_, s_, 9, s_.in, s_.out, most}, std::nullopt};
    if (shortcut_weight_) w.shortcut.emplace(loops_, s_, 1, s_.in, s_.out, most);
    return w;
  }

  void by_images() const {
    const int64_t image = s_.pixels() * s_.in;
    at::parallel_for(0, s_.batch, 1, [&](int64_t begin, int64_t end) {
      const Workers work = workers(s_.group(1));
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
    const int64_t image = s_.pixels() * s_.in, threads = at::get_num_threads();
    const int64_t rows = (s_.height + threads - 1) / threads;
    const int64_t bands = (s_.height + rows - 1) / rows;
    const Space<Bf16> joined(source_.joined() ? s_.batch * image : 0);
    const Space<Bf16> h(before_ ? s_.batch * image : 0);
    const Bf16* x = source_.images(0, s_.batch, joined.get());
    if (before_)
      cpu::group_norm_forward(*before_.shape, Element::kBFloat16, x, h.get(), before_.args);
    at::parallel_for(0, s_.batch * bands, 1, [&](int64_t begin, int64_t end) {
      const Workers work = workers(s_.rows(0, rows));
      for (int64_t band = begin; band < end; ++band) {
        const int64_t i = band / bands, first = band % bands * rows;
        one(work, s_.rows(first, std::min(rows, s_.height - first)), i, x + i * image,
            (before_ ? h.get() : x) + i * image);
      }
    });
  }

  // Group g of the i-th image, which came in as x and was made h.
  void one(const Workers& work, const ConvGroup& g, int64_t i, const Bf16* x, const Bf16* h) const {
    const int64_t at = i * s_.pixels() * s_.out;
    work.conv(g, h, weight_.get(), bias_.data_ptr<float>(),
              residual_.defined() ? data_of(residual_) + at : nullptr, data_of(result_.y) + at);
    if (!work.shortcut) return;
    (*work.shortcut)(g, x, shortcut_weight_->get(), shortcut_bias_.data_ptr<float>(), nullptr,
                     data_of(result_.s) + at);
  }

  torch::Tensor map() const {
    return torch::empty({s_.batch, s_.out, s_.height, s_.width}, torch::dtype(torch::kBFloat16),
                        kLast);
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
        shares_(std::min<int64_t>(at::get_num_threads(), s.batch)),
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
    at::parallel_for(0, shares_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t share = begin; share < end; ++share) {
        const Work work(*this, sums_.get() + share * step_);
        const int64_t last = s_.batch * (share + 1) / shares_;
        for (int64_t first = s_.batch * share / shares_; first < last; first += together_)
          images(work, first, std::min(together_, last - first));
      }
    });
    OfWeights of_shortcut;
    if (shortcut_.defined())
      of_shortcut = collect(s_, sums_.get() + size_, shares_, step_, shortcut_);
    return {collect(s_, sums_.get(), shares_, step_, weight_), of_shortcut};
  }

 private:
  // Working memory of one thread, for `together_` images.
  struct Work {
    WeightGradient gradient;
    GroupConvolution turned;
    std::optional<WeightGradient> shortcut_gradient;
    std::optional<GroupConvolution> turned_shortcut;
    Space<Bf16> joined, h, slope;

    Work(const Backward& b, float* sums)
        : gradient(b.loops_, b.s_, 9, b.s_.group(b.together_), sums),
          turned(b.loops_, b.s_, 9, b.s_.out, b.s_.in, b.s_.group(1)),
          joined(b.source_.joined() ? b.together_ * b.image() : 0),
          h(b.before_ ? b.together_ * b.image() : 0),
          slope(b.before_ ? b.together_ * b.image() : 0) {
      if (!b.shortcut_.defined()) return;
      shortcut_gradient.emplace(b.loops_, b.s_, 1, b.s_.group(b.together_), sums + b.size_);
      turned_shortcut.emplace(b.loops_, b.s_, 1, b.s_.out, b.s_.in, b.s_.group(1));
    }
  };

  void images(const Work& work, int64_t first, int64_t count) const {
    const int64_t at = first * s_.pixels() * s_.out;
    const Bf16* x = source_.images(first, count, work.joined.get());
    for (int64_t i = 0; before_ && i < count; ++i) {
      cpu::group_norm_image_again(*before_.shape, x + i * image(), work.h.get() + i * image(),
                                  work.slope.get() + i * image(), before_.args, first + i);
    }
    work.gradient.add(s_.group(count), before_ ? work.h.get() : x, data_of(d_.y) + at);
    if (work.shortcut_gradient) work.shortcut_gradient->add(s_.group(count), x, data_of(d_.s) + at);
    for (int64_t i = 0; turned_weight_ && i < count; ++i)
      source_image(work, x + i * image(), i, first + i);
  }

  // The gradient of image b, the i-th of those in memory.
  void source_image(const Work& work, const Bf16* x, int64_t i, int64_t b) const {
    const int64_t at = b * s_.pixels() * s_.out;
    // Where two are joined, or a norm follows, in the place of what is not needed any more.
    Bf16* dx = source_.joined() ? work.joined.get() + i * image() : data_of(to_.x) + b * image();
    Bf16* dh = before_ ? work.h.get() : dx;
    work.turned(s_.group(1), data_of(d_.y) + at, turned_weight_->get(), nullptr, nullptr, dh);
    if (before_) {
      cpu::group_norm_image_backward(*before_.shape, x, dh, work.slope.get() + i * image(), dx,
                                     before_.args, b);
    }
    if (work.turned_shortcut) {
      (*work.turned_shortcut)(s_.group(1), data_of(d_.s) + at, turned_shortcut_->get(), nullptr, dx,
                              dx);
    }
    if (source_.joined()) source_.split(dx, b, to_.x, to_.beside);
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
