#pragma once

#include "../cpu/buffer.h"
#include "../cpu/loops.h"
#include "../group_norm_buffers.h"
#include "ddpm/kernels/norm_convolution.h"

#include <algorithm>
#include <optional>

#include <ATen/Parallel.h>

// What the passes of tile_convolution.cpp are made of: weights in the order of the tiles, the
// convolution and the gradient of its weights over a group of images, and what comes in.

namespace ddpm::kernels::tiles {

constexpr auto kChannelsLast = torch::MemoryFormat::ChannelsLast;
constexpr int64_t kPositions = 1024;  // of images that are worked on together

inline int64_t whole_panels(int64_t count) { return (count + kPanel - 1) / kPanel * kPanel; }

inline int64_t taps_of(const torch::Tensor& weight) { return weight.size(2) * weight.size(3); }

struct Shape {
  int64_t batch, height, width, in, out;
  int64_t row() const { return width + 1; }
  int64_t pixels() const { return height * width; }
  ConvGroup group(int64_t images) const { return {images, 0, height, height, width}; }
  ConvGroup rows(int64_t first, int64_t count) const { return {1, first, count, height, width}; }
  /// Positions that the results of a group are computed from.
  int64_t input_positions(const ConvGroup& g) const {
    return whole_panels(g.results()) + 2 * row() + 3;
  }
  /// Whether whole images keep all threads busy.
  bool images_suffice() const { return batch >= at::get_num_threads(); }
  /// Images whose positions are about kPositions, at most `most`.
  int64_t images_together(int64_t most) const {
    return std::clamp<int64_t>(kPositions / ((height + 1) * row()), 1, std::max<int64_t>(1, most));
  }
};

/// The images' rows in parts, at least as many as there are threads if there are so many rows.
class Bands {
 public:
  explicit Bands(const Shape& s) : s_(s) {
    const int64_t wanted = (at::get_num_threads() + s.batch - 1) / s.batch;
    rows_ = (s.height + wanted - 1) / wanted;
    per_image_ = (s.height + rows_ - 1) / rows_;
  }
  int64_t size() const { return s_.batch * per_image_; }
  int64_t image(int64_t band) const { return band / per_image_; }
  ConvGroup rows(int64_t band) const {
    const int64_t first = band % per_image_ * rows_;
    return s_.rows(first, std::min(rows_, s_.height - first));
  }
  ConvGroup largest() const { return s_.rows(0, rows_); }

 private:
  const Shape& s_;
  int64_t rows_, per_image_;
};

/// Weights [O,C,3,3] or [O,C,1,1] of float32 as TileConvLoops::convolve_panel reads them,
/// [out / 32][taps][in / 32][2][16][16][2]. turned: those of the gradient of x, in and out
/// exchanged, each 3x3 turned by half a circle.
inline Space<Bf16> packed(const TileConvLoops& loops, const torch::Tensor& weight, bool turned) {
  const torch::Tensor w = weight.contiguous(kChannelsLast);  // [O][3][3][C] in memory
  const int64_t rows = w.size(0), columns = w.size(1), taps = taps_of(weight);
  const int64_t out = turned ? columns : rows, in = turned ? rows : columns;
  const float* from = w.data_ptr<float>();
  Space<Bf16> result(taps * in * out);
  at::parallel_for(0, out / kPanel, 1, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        Bf16* to = result.get() + (panel * taps + tap) * in * kPanel;
        if (turned) {
          loops.pack_columns(from + (taps - 1 - tap) * columns + panel * kPanel, taps * columns, in,
                             to);
        } else {
          loops.pack_rows(from + (panel * kPanel * taps + tap) * columns, taps * columns, in, to);
        }
      }
    }
  });
  return result;
}

/// The convolution of a group of images, or of some rows of one.
class GroupConvolution {
 public:
  /// in, out: of this convolution. `most`: the group that needs most positions.
  GroupConvolution(const TileConvLoops& loops, const Shape& s, int64_t taps, int64_t in,
                   int64_t out, const ConvGroup& most)
      : loops_(loops),
        s_(s),
        taps_(taps),
        in_(in),
        out_(out),
        positions_(s.input_positions(most) * in) {}

  void operator()(const ConvGroup& g, const Bf16* x, const Bf16* weight, const float* bias,
                  const Bf16* residual, Bf16* y) const {
    const int64_t count = s_.input_positions(g);
    for (int64_t i = 0; i < in_; i += kPanel)
      loops_.gather(g, x + i, in_, /*border=*/true, count, positions_.get() + i * count);
    for (int64_t o = 0; o < out_; o += kPanel) {
      loops_.convolve_panel(g, taps_, positions_.get(), count, in_, weight + o * taps_ * in_,
                            bias ? bias + o : nullptr, residual ? residual + o : nullptr, y + o,
                            out_);
    }
  }

 private:
  const TileConvLoops& loops_;
  const Shape& s_;
  int64_t taps_, in_, out_;
  Space<Bf16> positions_;
};

/// The 3x3 convolution and, if there is one, the 1x1 beside it: a thread's working memory.
struct Convolutions {
  GroupConvolution conv;
  std::optional<GroupConvolution> shortcut;

  Convolutions(const TileConvLoops& loops, const Shape& s, int64_t in, int64_t out,
               const ConvGroup& most, bool with_shortcut)
      : conv(loops, s, 9, in, out, most) {
    if (with_shortcut) shortcut.emplace(loops, s, 1, in, out, most);
  }
};

/// The sums of the gradients of weight and bias over some images.
class WeightGradient {
 public:
  /// Sets the sums, [out / 32][in / 32][taps][32][32] and then [out], to 0.
  WeightGradient(const TileConvLoops& loops, const Shape& s, int64_t taps, const ConvGroup& most,
                 float* sums)
      : loops_(loops),
        s_(s),
        taps_(taps),
        sums_(sums),
        count_(whole_panels(most.results())),
        x_count_(count_ + 2 * s.row() + 4),
        panel_((x_count_ + 1) * kPanel),
        dy_(count_ * s.out),
        even_(x_count_ * s.in),
        odd_(x_count_ * s.in) {
    std::fill_n(sums_, size(s, taps), 0.0f);
  }
  static int64_t size(const Shape& s, int64_t taps) { return taps * s.in * s.out + s.out; }

  void add(const ConvGroup& g, const Bf16* x, const Bf16* dy) const {
    for (int64_t i = 0; i < s_.in; i += kPanel) {
      loops_.gather(g, x + i, s_.in, /*border=*/true, x_count_ + 1, panel_.get());
      loops_.pair_positions(panel_.get(), x_count_, even_.get() + i * x_count_,
                            odd_.get() + i * x_count_);
    }
    for (int64_t o = 0; o < s_.out; o += kPanel) {
      loops_.gather(g, dy + o, s_.out, /*border=*/false, count_, panel_.get());
      loops_.turn_positions(panel_.get(), count_, dy_.get() + o * count_,
                            sums_ + taps_ * s_.in * s_.out + o);
    }
    loops_.accumulate(s_.row(), taps_, count_, dy_.get(), s_.out, even_.get(), odd_.get(), x_count_,
                      s_.in, sums_);
  }

 private:
  const TileConvLoops& loops_;
  const Shape& s_;
  int64_t taps_;
  float* sums_;
  int64_t count_, x_count_;
  Space<Bf16> panel_, dy_, even_, odd_;
};

/// Gradients of weight [O,C,kh,kw] and bias [O].
struct OfWeights {
  torch::Tensor weight, bias;
};

/// The shares' sums, `step` numbers apart, added in their order.
inline OfWeights collect(const Shape& s, const float* sums, int64_t shares, int64_t step,
                         const torch::Tensor& like) {
  const OfWeights result{torch::empty_like(like), torch::empty({s.out}, like.options())};
  const int64_t panels = s.in / kPanel, taps = taps_of(like);
  const torch::Tensor& w = result.weight;
  // `count` totals from `from` on, to numbers `stride` apart.
  const auto total = [&](const float* from, int64_t count, float* to, int64_t stride) {
    for (int64_t i = 0; i < count; ++i) {
      float sum = from[i];
      for (int64_t share = 1; share < shares; ++share) sum += from[share * step + i];
      to[i * stride] = sum;
    }
  };
  at::parallel_for(0, s.out, 8, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      for (int64_t panel = 0; panel < panels; ++panel) {
        const int64_t block = (o / kPanel * panels + panel) * taps;
        float* to = w.data_ptr<float>() + o * w.stride(0) + panel * kPanel * w.stride(1);
        for (int64_t tap = 0; tap < taps; ++tap) {
          total(sums + ((block + tap) * kPanel + o % kPanel) * kPanel, kPanel,
                to + tap / w.size(3) * w.stride(2) + tap % w.size(3) * w.stride(3), w.stride(1));
        }
      }
    }
  });
  total(sums + taps * s.in * s.out, s.out, result.bias.data_ptr<float>(), 1);
  return result;
}

/// The images that come in: x, or x and `beside` joined along the channels, image by image.
class Source {
 public:
  Source(const Shape& s, const torch::Tensor& x, const torch::Tensor& beside)
      : s_(s), x_(x), beside_(beside), channels_(x.size(1)) {}

  bool joined() const { return beside_.defined(); }
  /// Images first .. first + count - 1, one after another; `space` for as many, if joined.
  const Bf16* images(int64_t first, int64_t count, Bf16* space) const {
    const int64_t begin = first * s_.pixels(), end = begin + count * s_.pixels();
    if (!joined()) return data_of(x_) + begin * s_.in;
    const int64_t others = s_.in - channels_;
    const Bf16 *a = data_of(x_) + begin * channels_, *b = data_of(beside_) + begin * others;
    Bf16* to = space;
    for (int64_t p = begin; p < end; ++p, a += channels_, b += others) {
      to = std::copy_n(a, channels_, to);
      to = std::copy_n(b, others, to);
    }
    return space;
  }
  /// Hands image i's gradient to those of x and of `beside`.
  void split(const Bf16* from, int64_t i, const torch::Tensor& dx,
             const torch::Tensor& d_beside) const {
    const int64_t others = s_.in - channels_;
    Bf16* a = data_of(dx) + i * s_.pixels() * channels_;
    Bf16* b = data_of(d_beside) + i * s_.pixels() * others;
    for (int64_t p = 0; p < s_.pixels(); ++p, from += s_.in) {
      a = std::copy_n(from, channels_, a);
      b = std::copy_n(from + channels_, others, b);
    }
  }

 private:
  const Shape& s_;
  const torch::Tensor &x_, &beside_;
  int64_t channels_;
};

/// The norm before the convolution, if there is one.
struct Before {
  std::optional<GroupNormShape> shape;
  std::optional<GroupNormBuffers> buffers;
  GroupNormArgs<float> args{};

  explicit operator bool() const { return shape.has_value(); }
  void open(const torch::Tensor& x, const Shape& s, const Norm& norm) {
    shape = shape_of(x, s.in, norm.groups, norm.eps, /*silu=*/true);
    buffers.emplace(x, *shape, norm.weight, norm.bias, norm.modulation);
  }
};

}  // namespace ddpm::kernels::tiles
