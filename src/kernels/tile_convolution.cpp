#include "tile_convolution.h"

#include "group_norm_buffers.h"
#include "group_norm_image.h"
#include "space.h"

#include <algorithm>
#include <optional>

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

namespace ddpm::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr auto kLast = torch::MemoryFormat::ChannelsLast;
constexpr int64_t kPanel = 32;
constexpr int64_t kPositions = 1024;                // of images that are worked on together
constexpr int64_t kMostBytes = int64_t{512} << 20;  // of all threads' sums of weight gradients

int64_t whole_panels(int64_t count) { return (count + kPanel - 1) / kPanel * kPanel; }

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
  /// Images whose positions are about kPositions, at most `most`.
  int64_t images_together(int64_t most) const {
    return std::clamp<int64_t>(kPositions / ((height + 1) * row()), 1, std::max<int64_t>(1, most));
  }
};

/// Weights [O,C,3,3] of float32 as TileConvLoops::convolve_panel reads them, [out / 32][9]
/// [in / 32][2][16][16][2]. turned: those of the gradient of x, in and out exchanged, each 3x3
/// turned by half a circle.
Space<Bf16> packed(const TileConvLoops& loops, const torch::Tensor& weight, bool turned) {
  const torch::Tensor w = weight.contiguous(kLast);  // [O][3][3][C] in memory
  const int64_t rows = w.size(0), columns = w.size(1);
  const int64_t out = turned ? columns : rows, in = turned ? rows : columns;
  const float* from = w.data_ptr<float>();
  Space<Bf16> result(9 * in * out);
  at::parallel_for(0, out / kPanel, 1, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      for (int64_t tap = 0; tap < 9; ++tap) {
        Bf16* to = result.get() + (panel * 9 + tap) * in * kPanel;
        if (turned) {
          loops.pack_columns(from + (8 - tap) * columns + panel * kPanel, 9 * columns, in, to);
        } else {
          loops.pack_rows(from + (panel * kPanel * 9 + tap) * columns, 9 * columns, in, to);
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
  GroupConvolution(const TileConvLoops& loops, const Shape& s, int64_t in, int64_t out,
                   const ConvGroup& most)
      : loops_(loops), s_(s), in_(in), out_(out), positions_(s.input_positions(most) * in) {}

  void operator()(const ConvGroup& g, const Bf16* x, const Bf16* weight, const float* bias,
                  const Bf16* residual, Bf16* y) const {
    const int64_t count = s_.input_positions(g);
    for (int64_t i = 0; i < in_; i += kPanel)
      loops_.gather(g, x + i, in_, /*border=*/true, count, positions_.get() + i * count);
    for (int64_t o = 0; o < out_; o += kPanel) {
      loops_.convolve_panel(g, positions_.get(), count, in_, weight + o * 9 * in_,
                            bias ? bias + o : nullptr, residual ? residual + o : nullptr, y + o,
                            out_);
    }
  }

 private:
  const TileConvLoops& loops_;
  const Shape& s_;
  int64_t in_, out_;
  Space<Bf16> positions_;
};

/// The sums of the gradients of weight and bias over some images.
class WeightGradient {
 public:
  /// Sets the sums, [out / 32][in / 32][9][32][32] and then [out], to 0.
  WeightGradient(const TileConvLoops& loops, const Shape& s, const ConvGroup& most, float* sums)
      : loops_(loops),
        s_(s),
        sums_(sums),
        count_(whole_panels(most.results())),
        x_count_(count_ + 2 * s.row() + 4),
        panel_((x_count_ + 1) * kPanel),
        dy_(count_ * s.out),
        even_(x_count_ * s.in),
        odd_(x_count_ * s.in) {
    std::fill_n(sums_, size(s), 0.0f);
  }
  static int64_t size(const Shape& s) { return 9 * s.in * s.out + s.out; }

  void add(const ConvGroup& g, const Bf16* x, const Bf16* dy) const {
    for (int64_t i = 0; i < s_.in; i += kPanel) {
      loops_.gather(g, x + i, s_.in, /*border=*/true, x_count_ + 1, panel_.get());
      loops_.pair_positions(panel_.get(), x_count_, even_.get() + i * x_count_,
                            odd_.get() + i * x_count_);
    }
    for (int64_t o = 0; o < s_.out; o += kPanel) {
      loops_.gather(g, dy + o, s_.out, /*border=*/false, count_, panel_.get());
      loops_.turn_positions(panel_.get(), count_, dy_.get() + o * count_,
                            sums_ + 9 * s_.in * s_.out + o);
    }
    loops_.accumulate(s_.row(), count_, dy_.get(), s_.out, even_.get(), odd_.get(), x_count_, s_.in,
                      sums_);
  }

 private:
  const TileConvLoops& loops_;
  const Shape& s_;
  float* sums_;
  int64_t count_, x_count_;
  Space<Bf16> panel_, dy_, even_, odd_;
};

/// The shares' sums, added in their order, as gradients of weight and bias.
void collect(const Shape& s, const float* sums, int64_t shares, torch::Tensor& d_weight,
             torch::Tensor& d_bias) {
  const int64_t size = WeightGradient::size(s), panels = s.in / kPanel;
  float* to = d_weight.data_ptr<float>();
  at::parallel_for(0, s.out, 8, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      for (int64_t panel = 0; panel < panels; ++panel) {
        for (int64_t tap = 0; tap < 9; ++tap) {
          const float* from =
              sums + (((o / kPanel * panels + panel) * 9 + tap) * kPanel + o % kPanel) * kPanel;
          float* at = to + o * d_weight.stride(0) + panel * kPanel * d_weight.stride(1) +
                      tap / 3 * d_weight.stride(2) + tap % 3 * d_weight.stride(3);
          for (int64_t i = 0; i < kPanel; ++i) {
            float sum = from[i];
            for (int64_t share = 1; share < shares; ++share) sum += from[share * size + i];
            at[i * d_weight.stride(1)] = sum;
          }
        }
      }
      float sum = 0.0f;
      for (int64_t share = 0; share < shares; ++share) sum += sums[share * size + size - s.out + o];
      d_bias.data_ptr<float>()[o] = sum;
    }
  });
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
    shape = {s.batch,  s.pixels(),   s.in, norm.groups, tile_size(x.device(), s.pixels(), s.in),
             norm.eps, /*silu=*/true};
    buffers.emplace(x, *shape, norm.weight, norm.bias, norm.modulation);
  }
};

torch::Tensor forward(const TileConvLoops& loops, const Shape& s, const Source& source,
                      const Before& before, const torch::Tensor& weight, const torch::Tensor& bias,
                      const torch::Tensor& residual) {
  const Space<Bf16> w = packed(loops, weight, false);
  const torch::Tensor b = bias.contiguous();
  const torch::Tensor y =
      torch::empty({s.batch, s.out, s.height, s.width}, torch::dtype(torch::kBFloat16), kLast);
  const Bf16* added = residual.defined() ? data_of(residual) : nullptr;
  const int64_t image = s.pixels() * s.in, out_image = s.pixels() * s.out;
  // Group g of the i-th image, which was made `h`.
  const auto one = [&](const GroupConvolution& convolution, const ConvGroup& g, int64_t i,
                       const Bf16* h) {
    convolution(g, h, w.get(), b.data_ptr<float>(), added ? added + i * out_image : nullptr,
                data_of(y) + i * out_image);
  };
  if (s.batch >= at::get_num_threads()) {
    at::parallel_for(0, s.batch, 1, [&](int64_t begin, int64_t end) {
      const GroupConvolution convolution(loops, s, s.in, s.out, s.group(1));
      const Space<Bf16> joined(source.joined() ? image : 0), h(before ? image : 0);
      for (int64_t i = begin; i < end; ++i) {
        const Bf16* x = source.images(i, 1, joined.get());
        if (before) cpu::group_norm_image(*before.shape, x, h.get(), before.args, i);
        one(convolution, s.group(1), i, before ? h.get() : x);
      }
    });
    return y;
  }
  // Few images: the rows of each are divided.
  const int64_t threads = at::get_num_threads();
  const int64_t rows = (s.height + threads - 1) / threads;
  const int64_t bands = (s.height + rows - 1) / rows;
  const Space<Bf16> joined(source.joined() ? s.batch * image : 0);
  const Space<Bf16> h(before ? s.batch * image : 0);
  const Bf16* x = source.images(0, s.batch, joined.get());
  if (before) cpu::group_norm_forward(*before.shape, Element::kBFloat16, x, h.get(), before.args);
  at::parallel_for(0, s.batch * bands, 1, [&](int64_t begin, int64_t end) {
    const GroupConvolution convolution(loops, s, s.in, s.out, s.rows(0, rows));
    for (int64_t band = begin; band < end; ++band) {
      const int64_t i = band / bands, first = band % bands * rows;
      one(convolution, s.rows(first, std::min(rows, s.height - first)), i,
          (before ? h.get() : x) + i * image);
    }
  });
  return y;
}

struct Gradients {
  torch::Tensor x, beside, weight, bias;
};

/// The backward pass of some images that are worked on together.
class GroupBackward {
 public:
  GroupBackward(const TileConvLoops& loops, const Shape& s, const Source& source,
                const Before& before, int64_t together, float* sums)
      : s_(s),
        source_(source),
        before_(before),
        weight_gradient_(loops, s, s.group(together), sums),
        turned_(loops, s, s.out, s.in, s.group(1)),
        joined_(source.joined() ? together * image() : 0),
        h_(before ? together * image() : 0),
        slope_(before ? together * image() : 0) {}

  /// turned_weight: nullptr where nothing but the weights' gradient is wanted.
  void operator()(int64_t first, int64_t count, const Bf16* dy, const Bf16* turned_weight,
                  const Gradients& to) const {
    const Bf16* x = source_.images(first, count, joined_.get());
    for (int64_t i = 0; before_ && i < count; ++i) {
      cpu::group_norm_image_again(*before_.shape, x + i * image(), h_.get() + i * image(),
                                  slope_.get() + i * image(), before_.args, first + i);
    }
    weight_gradient_.add(s_.group(count), before_ ? h_.get() : x, dy);
    for (int64_t i = 0; turned_weight && i < count; ++i) {
      // Where two are joined, or a norm follows, in the place of what is not needed any more.
      Bf16* dx =
          source_.joined() ? joined_.get() + i * image() : data_of(to.x) + (first + i) * image();
      Bf16* dh = before_ ? h_.get() : dx;
      turned_(s_.group(1), dy + i * s_.pixels() * s_.out, turned_weight, nullptr, nullptr, dh);
      if (before_) {
        cpu::group_norm_image_backward(*before_.shape, x + i * image(), dh,
                                       slope_.get() + i * image(), dx, before_.args, first + i);
      }
      if (source_.joined()) source_.split(dx, first + i, to.x, to.beside);
    }
  }

 private:
  int64_t image() const { return s_.pixels() * s_.in; }

  const Shape& s_;
  const Source& source_;
  const Before& before_;
  WeightGradient weight_gradient_;
  GroupConvolution turned_;
  Space<Bf16> joined_, h_, slope_;
};

/// Gradients::x and beside may be undefined: not wanted; else space for them.
void backward(const TileConvLoops& loops, const Shape& s, const Source& source,
              const torch::Tensor& dy, const Before& before, const torch::Tensor& weight,
              Gradients& to) {
  const int64_t shares = std::min<int64_t>(at::get_num_threads(), s.batch);
  const int64_t together = s.images_together((s.batch + shares - 1) / shares);
  const int64_t size = WeightGradient::size(s);
  const bool want_x = to.x.defined();
  const Space<Bf16> w = want_x ? packed(loops, weight, true) : Space<Bf16>(0);
  const Space<float> sums(shares * size);
  at::parallel_for(0, shares, 1, [&](int64_t begin, int64_t end) {
    for (int64_t share = begin; share < end; ++share) {
      const GroupBackward group(loops, s, source, before, together, sums.get() + share * size);
      const int64_t last = s.batch * (share + 1) / shares;
      for (int64_t first = s.batch * share / shares; first < last; first += together) {
        group(first, std::min(together, last - first), data_of(dy) + first * s.pixels() * s.out,
              want_x ? w.get() : nullptr, to);
      }
    }
  });
  to.weight = torch::empty_like(weight);
  to.bias = torch::empty({s.out}, weight.options());
  collect(s, sums.get(), shares, to.weight, to.bias);
}

class TileConvolution : public torch::autograd::Function<TileConvolution> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& x,
                               const std::optional<torch::Tensor>& beside_in,
                               const torch::Tensor& weight, const torch::Tensor& bias,
                               const std::optional<torch::Tensor>& residual,
                               const std::optional<torch::Tensor>& norm_weight,
                               const std::optional<torch::Tensor>& norm_bias,
                               const std::optional<torch::Tensor>& add_BC,
                               const std::optional<torch::Tensor>& scale_BC,
                               const std::optional<torch::Tensor>& shift_BC, int64_t groups,
                               double eps, int64_t loops) {
    const auto plain = [](const std::optional<torch::Tensor>& t) {
      return t.value_or(torch::Tensor());
    };
    const Norm norm{plain(norm_weight),
                    plain(norm_bias),
                    groups,
                    eps,
                    {plain(add_BC), plain(scale_BC), plain(shift_BC)}};
    const torch::Tensor beside = plain(beside_in);
    const Shape s = shape(x, weight);
    Before before;
    if (norm.weight.defined()) {
      before.open(x, s, norm);
      before.buffers->allocate_statistics(*before.shape);
      before.args = before.buffers->args<float>();
    }
    const torch::Tensor y = kernels::forward(loops_of(loops), s, Source(s, x, beside), before,
                                             weight, bias, plain(residual));
    const GroupNormBuffers* b = before ? &*before.buffers : nullptr;
    const torch::Tensor none;
    context->save_for_backward({x, weight, norm.weight, norm.bias, norm.modulation.add,
                                norm.modulation.scale, norm.modulation.shift, b ? b->mean : none,
                                b ? b->rstd : none, b ? b->channel_mean : none, beside});
    context->saved_data["groups"] = groups;
    context->saved_data["eps"] = eps;
    context->saved_data["loops"] = loops;
    context->saved_data["residual"] = residual.has_value();
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    TORCH_CHECK(!torch::GradMode::is_enabled(), "the convolution has no second derivative");
    RECORD_FUNCTION("ddpm::convolution_backward", {});
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &x = saved[0], &weight = saved[1];
    const Norm norm{saved[2],
                    saved[3],
                    context->saved_data["groups"].toInt(),
                    context->saved_data["eps"].toDouble(),
                    {saved[4], saved[5], saved[6]}};
    const torch::Tensor dy = gradients[0].to(torch::kBFloat16).contiguous(kLast);
    const Shape s = shape(x, weight);
    Before before;
    if (norm.weight.defined()) {
      before.open(x, s, norm);
      before.buffers->mean = saved[7], before.buffers->rstd = saved[8];
      before.buffers->channel_mean = saved[9];
      before.buffers->allocate_gradients(*before.shape);
      before.args = before.buffers->args<float>();
    }
    const torch::Tensor& beside = saved[10];
    Gradients g;
    if (before || beside.defined() || context->needs_input_grad(0)) g.x = torch::empty_like(x);
    if (beside.defined()) g.beside = torch::empty_like(beside);
    kernels::backward(loops_of(context->saved_data["loops"].toInt()), s, Source(s, x, beside), dy,
                      before, weight, g);
    variable_list all(13);
    all[0] = g.x, all[1] = g.beside, all[2] = g.weight, all[3] = g.bias;
    if (context->saved_data["residual"].toBool()) all[4] = gradients[0];
    if (before) {
      const variable_list of_norm =
          before.buffers->gradients(norm.weight, norm.bias, norm.modulation);
      std::copy(of_norm.begin(), of_norm.end(), all.begin() + 5);
    }
    return all;
  }

 private:
  static Shape shape(const torch::Tensor& x, const torch::Tensor& weight) {
    return {x.size(0), x.size(2), x.size(3), weight.size(1), weight.size(0)};
  }
  // A pointer travels through the graph as a number.
  static const TileConvLoops& loops_of(int64_t address) {
    return *reinterpret_cast<const TileConvLoops*>(address);
  }
};

}  // namespace

bool has_tiles_for(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias) {
  const auto is_master = [](const torch::Tensor& t) {
    return t.is_cpu() && t.scalar_type() == torch::kFloat;
  };
  if (!x.is_cpu() || !is_master(weight) || !is_master(bias) || x.numel() == 0 ||
      !at::autocast::is_autocast_enabled(torch::kCPU) ||
      at::autocast::get_autocast_dtype(torch::kCPU) != torch::kBFloat16 || !tile_loops()) {
    return false;
  }
  const int64_t in = weight.size(1), out = weight.size(0);
  return in % kPanel == 0 && out % kPanel == 0 &&
         at::get_num_threads() * 9 * in * out * int64_t{sizeof(float)} <= kMostBytes;
}

torch::Tensor tile_conv3x3(const TileConvLoops& loops, const torch::Tensor& x, const Norm* norm,
                           const torch::Tensor& weight, const torch::Tensor& bias,
                           const torch::Tensor& residual, const torch::Tensor& beside) {
  RECORD_FUNCTION("ddpm::convolution", std::vector<c10::IValue>({x, weight}));
  const auto plain = [](const torch::Tensor& t) {
    return t.to(torch::kBFloat16).contiguous(kLast);
  };
  const auto optional = [](const torch::Tensor& t) {
    return t.defined() ? std::optional(t) : std::nullopt;
  };
  const auto optional_plain = [&](const torch::Tensor& t) {
    return t.defined() ? std::optional(plain(t)) : std::nullopt;
  };
  const Norm none;
  const Norm& n = norm ? *norm : none;
  const Modulation& m = n.modulation;
  return TileConvolution::apply(plain(x), optional_plain(beside), weight, bias,
                                optional_plain(residual), optional(n.weight), optional(n.bias),
                                optional(m.add), optional(m.scale), optional(m.shift), n.groups,
                                n.eps, reinterpret_cast<int64_t>(&loops));
}

}  // namespace ddpm::kernels
