#include "conv_weight_gradient.h"

#include <algorithm>

#include <ATen/Parallel.h>

namespace ddpm::kernels::amx {

WeightGradientSum::WeightGradientSum(const ConvLoops& loops, const ConvShape& s, int64_t taps,
                                     const ConvGroup& largest, float* sums)
    : loops_(loops),
      s_(s),
      taps_(taps),
      sums_(sums),
      count_(round_up_to_panel(largest.result_positions())),
      x_count_(count_ + 2 * s.row_stride() + 4),
      panel_((x_count_ + 1) * kPanel),
      dy_(count_ * s.out * loops.words),
      even_(x_count_ * s.in * loops.words),
      odd_(loops.words == 1 ? x_count_ * s.in : 0) {
  std::fill_n(sums_, size(s, taps), 0.0f);
}

int64_t WeightGradientSum::size(const ConvShape& s, int64_t taps) {
  return taps * s.in * s.out + s.out;
}

void WeightGradientSum::add_group(const ConvGroup& g, const Bf16* x, const Bf16* dy) const {
  const int64_t words = loops_.words;
  for (int64_t i = 0; i < s_.in; i += kPanel) {
    loops_.arrange_x(g, x + i, s_.in, x_count_, panel_.get(), even_.get() + i * x_count_ * words,
                     odd_.get() + i * x_count_ * words);
  }
  float* bias_sums = sums_ + taps_ * s_.in * s_.out;
  for (int64_t o = 0; o < s_.out; o += kPanel) {
    loops_.arrange_dy(g, dy + o, s_.out, count_, panel_.get(), dy_.get() + o * count_ * words,
                      bias_sums + o);
  }
  loops_.add_weight_gradient(g, taps_, count_, dy_.get(), s_.out, even_.get(), odd_.get(), x_count_,
                             s_.in, sums_);
}

WeightGradients reduce_weight_gradients(const ConvShape& s, const float* sums, int64_t threads,
                                        int64_t step, const torch::Tensor& weight) {
  const WeightGradients result{torch::empty_like(weight), torch::empty({s.out}, weight.options())};
  const int64_t panels = s.in / kPanel, taps = taps_of(weight);
  const torch::Tensor& dw = result.weight;
  // The totals of `count` numbers from `from` on, written `stride` apart.
  const auto add_threads = [&](const float* from, int64_t count, float* to, int64_t stride) {
    for (int64_t i = 0; i < count; ++i) {
      float sum = from[i];
      for (int64_t thread = 1; thread < threads; ++thread) sum += from[thread * step + i];
      to[i * stride] = sum;
    }
  };
  at::parallel_for(0, s.out, 8, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      for (int64_t panel = 0; panel < panels; ++panel) {
        const int64_t block = (o / kPanel * panels + panel) * taps;
        float* to = dw.data_ptr<float>() + o * dw.stride(0) + panel * kPanel * dw.stride(1);
        for (int64_t tap = 0; tap < taps; ++tap) {
          add_threads(sums + ((block + tap) * kPanel + o % kPanel) * kPanel, kPanel,
                      to + tap / dw.size(3) * dw.stride(2) + tap % dw.size(3) * dw.stride(3),
                      dw.stride(1));
        }
      }
    }
  });
  add_threads(sums + taps * s.in * s.out, s.out, result.bias.data_ptr<float>(), 1);
  return result;
}

}  // namespace ddpm::kernels::amx
