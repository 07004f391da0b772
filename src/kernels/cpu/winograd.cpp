#include "winograd.h"

#include "buffer.h"
#include "loops.h"

#include <algorithm>

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>

namespace ddpm::kernels::cpu {
namespace {

constexpr auto kChannelsLast = torch::MemoryFormat::ChannelsLast;
// Patches that are transformed and multiplied together; a multiple of every WinogradLoops::rows.
constexpr int64_t kPatchesPerBlock = 48;
// With fewer patches the transform of the weights costs more than it saves.
constexpr int64_t kMinPatches = 256;
// Of all threads' sums of weight gradients.
constexpr int64_t kMaxSumBytes = int64_t{512} << 20;

using FloatBuffer = Buffer<float>;

// Distance between the 16 matrices of a block, each [patches][channels]. The 16 numbers between
// them keep equal elements of all matrices out of the same cache set.
int64_t matrix_stride(int64_t channels) { return kPatchesPerBlock * channels + 16; }

WinogradShape winograd_shape(const torch::Tensor& x) {
  return {x.size(0), x.size(2), x.size(3), x.size(1)};
}

int64_t block_count(const WinogradShape& s) {
  return (s.patches() + kPatchesPerBlock - 1) / kPatchesPerBlock;
}

// Calls body(first patch, patches) for the blocks begin .. end - 1.
template <class Body>
void for_patch_blocks(const WinogradShape& s, int64_t begin, int64_t end, const Body& body) {
  for (int64_t block = begin; block < end; ++block) {
    const int64_t first = block * kPatchesPerBlock;
    body(first, std::min(kPatchesPerBlock, s.patches() - first));
  }
}

// G w G' of one 3x3 kernel, whose rows and columns are `row` and `column` numbers apart. The 16
// results are written `stride` numbers apart.
void transform_kernel(const float* w, int64_t row, int64_t column, float* to, int64_t stride) {
  float g[4][3];
  for (int j = 0; j < 3; ++j) {
    const float w0 = w[j * column], w1 = w[row + j * column], w2 = w[2 * row + j * column];
    g[0][j] = w0, g[3][j] = w2;
    g[1][j] = 0.5f * (w0 + w1 + w2), g[2][j] = 0.5f * (w0 - w1 + w2);
  }
  for (int r = 0; r < 4; ++r) {
    const float sum = g[r][0] + g[r][2];
    to[(4 * r) * stride] = g[r][0];
    to[(4 * r + 1) * stride] = 0.5f * (sum + g[r][1]);
    to[(4 * r + 2) * stride] = 0.5f * (sum - g[r][1]);
    to[(4 * r + 3) * stride] = g[r][2];
  }
}

// G w G' of every pair of channels, [16][out / columns][in][columns]. transposed: the weights of
// the gradient of x, with in and out exchanged and each 3x3 rotated by 180 degrees.
FloatBuffer transform_weight(const torch::Tensor& weight, bool transposed) {
  const int64_t columns = cpu_loops().winograd.columns;
  const int out_axis = transposed ? 1 : 0, in_axis = transposed ? 0 : 1;
  const int64_t out = weight.size(out_axis), in = weight.size(in_axis);
  const int64_t out_stride = weight.stride(out_axis), in_stride = weight.stride(in_axis);
  const int64_t sign = transposed ? -1 : 1;
  const int64_t row = sign * weight.stride(2), column = sign * weight.stride(3);
  const float* w = weight.data_ptr<float>();
  if (transposed) w += 2 * weight.stride(2) + 2 * weight.stride(3);
  FloatBuffer result(16 * out * in);
  float* to = result.get();
  at::parallel_for(0, out * in, 4096, [&](int64_t begin, int64_t end) {
    // Pairs in the order of the result.
    for (int64_t pair = begin; pair < end; ++pair) {
      const int64_t panel = pair / (in * columns), i = pair / columns % in;
      const int64_t o = panel * columns + pair % columns;
      transform_kernel(w + o * out_stride + i * in_stride, row, column, to + pair, out * in);
    }
  });
  return result;
}

// weight: transformed, of out_channels outputs; bias may be null.
torch::Tensor convolve(const torch::Tensor& x, const FloatBuffer& weight, int64_t out_channels,
                       const float* bias) {
  const WinogradLoops& loops = cpu_loops().winograd;
  const WinogradShape in = winograd_shape(x);
  WinogradShape out = in;
  out.channels = out_channels;
  const torch::Tensor y = torch::empty({in.batch, out_channels, in.height, in.width},
                                       x.options().memory_format(kChannelsLast));
  const float* from = x.data_ptr<float>();
  float* to = y.data_ptr<float>();
  const int64_t in_stride = matrix_stride(in.channels), out_stride = matrix_stride(out_channels);
  at::parallel_for(0, block_count(in), 1, [&](int64_t begin, int64_t end) {
    const FloatBuffer zeros(in.channels), d(16 * in_stride), m(16 * out_stride);
    std::fill_n(zeros.get(), in.channels, 0.0f);
    for_patch_blocks(in, begin, end, [&](int64_t first, int64_t count) {
      loops.input(in, from, zeros.get(), first, count, d.get(), in_stride);
      for (int64_t i = 0; i < 16; ++i) {
        loops.multiply(d.get() + i * in_stride, weight.get() + i * in.channels * out_channels,
                       m.get() + i * out_stride, count, in.channels, out_channels);
      }
      loops.output(out, m.get(), out_stride, bias, first, count, to);
    });
  });
  return y;
}

// The sums of (B' d B) * (A dy A') over the patches of each of `threads` parts:
// [threads][16][in][out].
FloatBuffer sum_patches(const torch::Tensor& x, const torch::Tensor& dy, int64_t threads) {
  const WinogradLoops& loops = cpu_loops().winograd;
  const WinogradShape in = winograd_shape(x), out = winograd_shape(dy);
  const int64_t pairs = in.channels * out.channels, blocks = block_count(in);
  FloatBuffer sums(threads * 16 * pairs);
  const float *from = x.data_ptr<float>(), *gradient = dy.data_ptr<float>();
  const int64_t in_stride = matrix_stride(in.channels), out_stride = matrix_stride(out.channels);
  at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
    const int64_t max_channels = std::max(in.channels, out.channels);
    const FloatBuffer zeros(max_channels), d(16 * in_stride), g(16 * out_stride);
    std::fill_n(zeros.get(), max_channels, 0.0f);
    for (int64_t thread = begin; thread < end; ++thread) {
      float* sum = sums.get() + thread * 16 * pairs;
      std::fill_n(sum, 16 * pairs, 0.0f);
      const auto body = [&](int64_t first, int64_t count) {
        loops.input(in, from, zeros.get(), first, count, d.get(), in_stride);
        loops.gradient(out, gradient, zeros.get(), first, count, g.get(), out_stride);
        for (int64_t i = 0; i < 16; ++i) {
          loops.accumulate(d.get() + i * in_stride, g.get() + i * out_stride, sum + i * pairs,
                           count, in.channels, out.channels);
        }
      };
      for_patch_blocks(in, blocks * thread / threads, blocks * (thread + 1) / threads, body);
    }
  });
  return sums;
}

// G' m G, one 3x3 kernel, to dw with rows and columns `row` and `column` numbers apart.
void transform_gradient(const float (&m)[16], float* dw, int64_t row, int64_t column) {
  float g[3][4];
  for (int j = 0; j < 4; ++j) {
    const float plus = 0.5f * (m[4 + j] + m[8 + j]), minus = 0.5f * (m[4 + j] - m[8 + j]);
    g[0][j] = m[j] + plus, g[1][j] = minus, g[2][j] = plus + m[12 + j];
  }
  for (int r = 0; r < 3; ++r) {
    const float plus = 0.5f * (g[r][1] + g[r][2]), minus = 0.5f * (g[r][1] - g[r][2]);
    dw[r * row] = g[r][0] + plus;
    dw[r * row + column] = minus;
    dw[r * row + 2 * column] = plus + g[r][3];
  }
}

}  // namespace

bool can_use_winograd(const torch::Tensor& x, const torch::Tensor& weight,
                      const torch::Tensor& bias) {
  const auto is_float_on_cpu = [](const torch::Tensor& t) {
    return t.is_cpu() && t.scalar_type() == torch::kFloat;
  };
  if (!is_float_on_cpu(x) || !is_float_on_cpu(weight) || !is_float_on_cpu(bias) ||
      !x.is_contiguous(kChannelsLast) || at::autocast::is_autocast_enabled(torch::kCPU)) {
    return false;
  }
  const int64_t columns = cpu_loops().winograd.columns, in = x.size(1), out = weight.size(0);
  const int64_t sum_bytes = at::get_num_threads() * 16 * in * out * int64_t{sizeof(float)};
  return in % columns == 0 && out % columns == 0 && winograd_shape(x).patches() >= kMinPatches &&
         sum_bytes <= kMaxSumBytes;
}

torch::Tensor winograd_forward(const torch::Tensor& x, const torch::Tensor& weight,
                               const torch::Tensor& bias) {
  return convolve(x, transform_weight(weight, /*transposed=*/false), weight.size(0),
                  bias.contiguous().data_ptr<float>());
}

torch::Tensor winograd_input_gradient(const torch::Tensor& dy, const torch::Tensor& weight) {
  return convolve(dy, transform_weight(weight, /*transposed=*/true), weight.size(1), nullptr);
}

torch::Tensor winograd_weight_gradient(const torch::Tensor& x, const torch::Tensor& dy,
                                       const torch::Tensor& weight) {
  const int64_t in = x.size(1), out = dy.size(1), pairs = in * out;
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), block_count(winograd_shape(x)));
  const FloatBuffer sums = sum_patches(x, dy, threads);
  const torch::Tensor dw = torch::empty_like(weight);
  float* to = dw.data_ptr<float>();
  at::parallel_for(0, in, 8, [&](int64_t begin, int64_t end) {
    for (int64_t pair = begin * out; pair < end * out; ++pair) {
      float m[16] = {};
      for (int64_t thread = 0; thread < threads; ++thread) {
        for (int i = 0; i < 16; ++i) m[i] += sums.get()[(thread * 16 + i) * pairs + pair];
      }
      transform_gradient(m, to + pair % out * dw.stride(0) + pair / out * dw.stride(1),
                         dw.stride(2), dw.stride(3));
    }
  });
  return dw;
}

}  // namespace ddpm::kernels::cpu
