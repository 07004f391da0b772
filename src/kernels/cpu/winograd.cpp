#include "../fused_convolution.h"
#include "buffer.h"
#include "ddpm/kernels/convolution.h"
#include "loops.h"

#include <algorithm>

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

namespace ddpm::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr auto kLast = torch::MemoryFormat::ChannelsLast;
constexpr int64_t kTiles = 48;         // a block; a multiple of every WinogradLoops::rows
constexpr int64_t kFewestTiles = 256;  // for less the transform of the weights does not pay
constexpr int64_t kMostSumBytes = int64_t{512} << 20;  // of all threads' sums of weight gradients

// Rows of `channels` floats, a block for each of the 16 numbers; an odd distance between the
// blocks, or all would share the cache's few lines for one address.
int64_t stride_of(int64_t channels) { return kTiles * channels + 16; }

using Floats = Space<float>;

WinogradShape winograd_shape(const torch::Tensor& x) {
  return {x.size(0), x.size(2), x.size(3), x.size(1)};
}

// Calls body(first tile, tiles) for the blocks begin .. end - 1.
template <class Body>
void for_blocks(const WinogradShape& s, int64_t begin, int64_t end, const Body& body) {
  for (int64_t block = begin; block < end; ++block) {
    const int64_t first = block * kTiles;
    body(first, std::min(kTiles, s.tiles() - first));
  }
}

int64_t block_count(const WinogradShape& s) { return (s.tiles() + kTiles - 1) / kTiles; }

// G w G' of every pair of channels, [16][out / columns][in][columns]. turned: the weights of the
// gradient of x, in and out exchanged, each 3x3 turned by half a circle.
Floats transform_weight(const torch::Tensor& weight, int64_t columns, bool turned) {
  const int64_t out = weight.size(turned ? 1 : 0), in = weight.size(turned ? 0 : 1);
  const int64_t out_stride = weight.stride(turned ? 1 : 0),
                in_stride = weight.stride(turned ? 0 : 1);
  const int64_t sign = turned ? -1 : 1;
  const int64_t row = sign * weight.stride(2), column = sign * weight.stride(3);
  const float* w = weight.data_ptr<float>();
  if (turned) w += 2 * weight.stride(2) + 2 * weight.stride(3);
  Floats result(16 * out * in);
  float* to = result.get();
  at::parallel_for(0, out * in, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t pair = begin; pair < end; ++pair) {  // in the order of the result
      const int64_t panel = pair / (in * columns), i = pair / columns % in;
      const float* k = w + (panel * columns + pair % columns) * out_stride + i * in_stride;
      float g[4][3];
      for (int j = 0; j < 3; ++j) {
        const float k0 = k[j * column], k1 = k[row + j * column], k2 = k[2 * row + j * column];
        g[0][j] = k0, g[3][j] = k2;
        g[1][j] = 0.5f * (k0 + k1 + k2), g[2][j] = 0.5f * (k0 - k1 + k2);
      }
      float* at = to + pair;
      for (int r = 0; r < 4; ++r) {
        const float sum = g[r][0] + g[r][2];
        at[(4 * r) * out * in] = g[r][0];
        at[(4 * r + 1) * out * in] = 0.5f * (sum + g[r][1]);
        at[(4 * r + 2) * out * in] = 0.5f * (sum - g[r][1]);
        at[(4 * r + 3) * out * in] = g[r][2];
      }
    }
  });
  return result;
}

torch::Tensor convolve(const torch::Tensor& x, const Floats& weight, int64_t channels,
                       const float* bias) {
  const WinogradLoops& loops = cpu_loops().winograd;
  const WinogradShape in = winograd_shape(x);
  WinogradShape out = in;
  out.channels = channels;
  const torch::Tensor y =
      torch::empty({in.batch, channels, in.height, in.width}, x.options().memory_format(kLast));
  const float* from = x.data_ptr<float>();
  float* to = y.data_ptr<float>();
  const int64_t in_stride = stride_of(in.channels), out_stride = stride_of(channels);
  at::parallel_for(0, block_count(in), 1, [&](int64_t begin, int64_t end) {
    const Floats zeros(in.channels), d(16 * in_stride), m(16 * out_stride);
    std::fill_n(zeros.get(), in.channels, 0.0f);
    for_blocks(in, begin, end, [&](int64_t first, int64_t count) {
      loops.input(in, from, zeros.get(), first, count, d.get(), in_stride);
      for (int64_t i = 0; i < 16; ++i) {
        loops.multiply(d.get() + i * in_stride, weight.get() + i * in.channels * channels,
                       m.get() + i * out_stride, count, in.channels, channels);
      }
      loops.output(out, m.get(), out_stride, bias, first, count, to);
    });
  });
  return y;
}

// G' M G, with M the sum of (B' d B) (A dy A') over all tiles: each thread's sum over its share of
// the tiles, added in the order of the threads.
torch::Tensor weight_gradient(const torch::Tensor& x, const torch::Tensor& dy,
                              const torch::Tensor& weight) {
  const WinogradLoops& loops = cpu_loops().winograd;
  const WinogradShape in = winograd_shape(x), out = winograd_shape(dy);
  const int64_t pairs = in.channels * out.channels;
  const int64_t blocks = block_count(in);
  const int64_t shares = std::min<int64_t>(at::get_num_threads(), blocks);
  const Floats sums(shares * 16 * pairs);
  const float *from = x.data_ptr<float>(), *gradient = dy.data_ptr<float>();
  const int64_t in_stride = stride_of(in.channels), out_stride = stride_of(out.channels);
  at::parallel_for(0, shares, 1, [&](int64_t begin, int64_t end) {
    const int64_t widest = std::max(in.channels, out.channels);
    const Floats zeros(widest), d(16 * in_stride), g(16 * out_stride);
    std::fill_n(zeros.get(), widest, 0.0f);
    for (int64_t share = begin; share < end; ++share) {
      float* sum = sums.get() + share * 16 * pairs;
      std::fill_n(sum, 16 * pairs, 0.0f);
      const auto body = [&](int64_t first, int64_t count) {
        loops.input(in, from, zeros.get(), first, count, d.get(), in_stride);
        loops.gradient(out, gradient, zeros.get(), first, count, g.get(), out_stride);
        for (int64_t i = 0; i < 16; ++i) {
          loops.accumulate(d.get() + i * in_stride, g.get() + i * out_stride, sum + i * pairs,
                           count, in.channels, out.channels);
        }
      };
      for_blocks(in, blocks * share / shares, blocks * (share + 1) / shares, body);
    }
  });
  const torch::Tensor dw = torch::empty_like(weight);
  float* to = dw.data_ptr<float>();
  at::parallel_for(0, in.channels, 8, [&](int64_t begin, int64_t end) {
    for (int64_t pair = begin * out.channels; pair < end * out.channels; ++pair) {
      float m[16] = {};
      for (int64_t share = 0; share < shares; ++share) {
        for (int i = 0; i < 16; ++i) m[i] += sums.get()[(share * 16 + i) * pairs + pair];
      }
      float g[3][4];
      for (int j = 0; j < 4; ++j) {
        const float plus = 0.5f * (m[4 + j] + m[8 + j]), minus = 0.5f * (m[4 + j] - m[8 + j]);
        g[0][j] = m[j] + plus, g[1][j] = minus, g[2][j] = plus + m[12 + j];
      }
      float* k = to + pair % out.channels * dw.stride(0) + pair / out.channels * dw.stride(1);
      for (int r = 0; r < 3; ++r) {
        const float plus = 0.5f * (g[r][1] + g[r][2]), minus = 0.5f * (g[r][1] - g[r][2]);
        k[r * dw.stride(2)] = g[r][0] + plus;
        k[r * dw.stride(2) + dw.stride(3)] = minus;
        k[r * dw.stride(2) + 2 * dw.stride(3)] = plus + g[r][3];
      }
    }
  });
  return dw;
}

class WinogradFunction : public torch::autograd::Function<WinogradFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& weight, const torch::Tensor& bias) {
    context->save_for_backward({x, weight});
    const int64_t columns = cpu_loops().winograd.columns;
    return convolve(x, transform_weight(weight, columns, false), weight.size(0),
                    bias.contiguous().data_ptr<float>());
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    TORCH_CHECK(!torch::GradMode::is_enabled(), "conv3x3 has no second derivative");
    RECORD_FUNCTION("ddpm::convolution_backward", {});
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &x = saved[0], &weight = saved[1];
    const torch::Tensor dy = gradients[0].contiguous(kLast);
    variable_list results(3);
    if (context->needs_input_grad(0)) {
      const int64_t columns = cpu_loops().winograd.columns;
      results[0] = convolve(dy, transform_weight(weight, columns, true), x.size(1), nullptr);
    }
    if (context->needs_input_grad(1)) results[1] = weight_gradient(x, dy, weight);
    if (context->needs_input_grad(2)) results[2] = dy.sum({0, 2, 3});
    return results;
  }
};

bool has_winograd(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias) {
  const auto is_float = [](const torch::Tensor& t) {
    return t.is_cpu() && t.scalar_type() == torch::kFloat;
  };
  if (!is_float(x) || !is_float(weight) || !is_float(bias) || !x.is_contiguous(kLast) ||
      at::autocast::is_autocast_enabled(torch::kCPU)) {
    return false;
  }
  const int64_t columns = cpu_loops().winograd.columns, in = x.size(1), out = weight.size(0);
  const int64_t sums = at::get_num_threads() * 16 * in * out * int64_t{sizeof(float)};
  return in % columns == 0 && out % columns == 0 && winograd_shape(x).tiles() >= kFewestTiles &&
         sums <= kMostSumBytes;
}

}  // namespace

torch::Tensor conv3x3(const torch::Tensor& x, const torch::Tensor& weight,
                      const torch::Tensor& bias) {
  TORCH_CHECK(x.dim() == 4 && weight.dim() == 4 && weight.size(1) == x.size(1) &&
                  weight.size(2) == 3 && weight.size(3) == 3 && bias.dim() == 1 &&
                  bias.size(0) == weight.size(0),
              "x [B,C,H,W], weight [O,C,3,3] and bias [O] do not go together");
  if (has_tiles_for(x, weight, bias))
    return tile_conv3x3(tile_loops()->convolution, x, nullptr, weight, bias).y;
  if (!has_winograd(x, weight, bias)) return at::conv2d(x, weight, bias, 1, 1);
  RECORD_FUNCTION("ddpm::convolution", std::vector<c10::IValue>({x, weight}));
  return WinogradFunction::apply(x, weight, bias);
}

}  // namespace ddpm::kernels
