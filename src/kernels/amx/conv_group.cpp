#include "conv_group.h"

#include <ATen/Parallel.h>

namespace ddpm::kernels::amx {

Buffer<Bf16> pack_weights(const ConvLoops& loops, const torch::Tensor& weight, bool transposed) {
  // [O][3][3][C] in memory
  const torch::Tensor w = weight.contiguous(torch::MemoryFormat::ChannelsLast);
  const int64_t rows = w.size(0), columns = w.size(1), taps = taps_of(weight);
  const int64_t out = transposed ? columns : rows, in = transposed ? rows : columns;
  const float* from = w.data_ptr<float>();
  Buffer<Bf16> result(taps * in * out * loops.words);
  at::parallel_for(0, out / kPanel, 1, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        Bf16* to = result.get() + (panel * taps + tap) * in * kPanel * loops.words;
        if (transposed) {
          loops.pack_weight_transposed(from + (taps - 1 - tap) * columns + panel * kPanel,
                                       taps * columns, in, to);
        } else {
          loops.pack_weight(from + (panel * kPanel * taps + tap) * columns, taps * columns, in, to);
        }
      }
    }
  });
  return result;
}

GroupConvolution::GroupConvolution(const ConvLoops& loops, const ConvShape& s, int64_t taps,
                                   int64_t in, int64_t out, const ConvGroup& largest)
    : loops_(loops),
      s_(s),
      taps_(taps),
      in_(in),
      out_(out),
      positions_(s.input_positions(largest) * in * loops.words) {}

void GroupConvolution::convolve_group(const ConvGroup& g, const Bf16* x, const Bf16* weight,
                                      const float* bias, const Bf16* residual, Bf16* y) const {
  const int64_t count = s_.input_positions(g);
  for (int64_t i = 0; i < in_; i += kPanel)
    loops_.gather(g, x + i, in_, count, positions_.get() + i * count * loops_.words);
  for (int64_t o = 0; o < out_; o += kPanel) {
    loops_.convolve_panel(g, taps_, positions_.get(), count, in_,
                          weight + o * taps_ * in_ * loops_.words, bias ? bias + o : nullptr,
                          residual ? residual + o : nullptr, y + o, out_);
  }
}

BlockConvolutions::BlockConvolutions(const ConvLoops& loops, const ConvShape& s, int64_t in,
                                     int64_t out, const ConvGroup& largest, bool has_shortcut)
    : conv(loops, s, 9, in, out, largest) {
  if (has_shortcut) shortcut.emplace(loops, s, 1, in, out, largest);
}

}  // namespace ddpm::kernels::amx
