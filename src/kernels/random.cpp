#include "cuda/kernels.h"
#include "ddpm/base/shape.h"
#include "ddpm/kernels/elementwise.h"

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

// Counter-based random numbers: Philox4x32-10 turns (key, id, step, position) into four 32-bit
// words, of which Box and Muller make four normals. No number depends on another, so that any split
// over threads or devices gives the same numbers.

namespace ddpm::kernels {
namespace {

// The current stream of a CUDA device, as a raw cudaStream_t, found without the CUDA headers.
void* current_stream(const torch::Device& device) {
  const c10::impl::VirtualGuardImpl guard(device.type());
  return guard.getStreamNativeHandle(guard.getStream(device));
}

void normal_row(float* row, int64_t size, RngKey key, uint64_t id, uint32_t step) {
  float z[4];
  for (int64_t block = 0; block * 4 < size; ++block) {
    const Words words = philox(key, id, step, static_cast<uint32_t>(block));
    box_muller(words.w[0], words.w[1], &z[0], &z[1]);
    box_muller(words.w[2], words.w[3], &z[2], &z[3]);
    std::copy_n(z, std::min<int64_t>(4, size - block * 4), row + block * 4);
  }
}

// [B, row] float32 on the CPU.
void normal_cpu(float* out, int64_t rows, int64_t row_size, const int64_t* ids, RngKey key,
                uint32_t step) {
  const int64_t grain = std::max<int64_t>(1, 4096 / std::max<int64_t>(1, row_size));
  at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      normal_row(out + b * row_size, row_size, key, static_cast<uint64_t>(ids[b]), step);
    }
  });
}

bool use_cuda_kernels(const torch::Tensor& x) { return x.is_cuda() && cuda::cuda_kernels(); }

}  // namespace

void fill_normal_(const torch::Tensor& out, RngKey key, const torch::Tensor& ids, uint32_t step) {
  expect_shape(ids, {out.size(0)}, "ids");
  const int64_t rows = out.size(0);
  const int64_t row_size = rows == 0 ? 0 : out.numel() / rows;
  TORCH_CHECK(row_size < int64_t{4} << 32, "a row of ", row_size,
              " numbers exceeds one Philox stream");
  const torch::NoGradGuard no_grad;
  // If there is no kernel for the device, the CPU's numbers are copied to it: the same, but slower.
  const bool on_device = use_cuda_kernels(out);
  const torch::Device device = on_device ? out.device() : torch::Device(torch::kCPU);
  const bool in_place =
      out.scalar_type() == torch::kFloat && out.is_contiguous() && out.device() == device;
  const torch::Tensor numbers =
      in_place ? out : torch::empty(out.sizes(), torch::dtype(torch::kFloat).device(device));
  const torch::Tensor local_ids = ids.to(device, torch::kLong).contiguous();
  if (on_device) {
    // A stream accepts launches only while its device is the current one.
    const c10::DeviceGuard guard(device);
    cuda::cuda_kernels()->normal(numbers.data_ptr<float>(), rows, row_size,
                                 local_ids.data_ptr<int64_t>(), key, step, current_stream(device));
  } else {
    normal_cpu(numbers.data_ptr<float>(), rows, row_size, local_ids.data_ptr<int64_t>(), key, step);
  }
  if (!in_place) out.copy_(numbers);
}

void fill_uniform_int_(const torch::Tensor& out, RngKey key, const torch::Tensor& ids, int64_t low,
                       int64_t high) {
  TORCH_CHECK(out.scalar_type() == torch::kLong && out.dim() == 1, "out must be int64 [B]");
  TORCH_CHECK(low <= high && high - low < (int64_t{1} << 32) - 1, "range ", low, "..", high);
  expect_shape(ids, {out.size(0)}, "ids");
  const auto count = static_cast<uint32_t>(high - low + 1);
  if (use_cuda_kernels(out) && out.is_contiguous() && ids.is_contiguous() && ids.is_cuda()) {
    const c10::DeviceGuard guard(out.device());
    cuda::cuda_kernels()->uniform_int(out.data_ptr<int64_t>(), out.size(0), ids.data_ptr<int64_t>(),
                                      key, low, count, current_stream(out.device()));
    return;
  }
  const torch::Tensor host_ids = ids.cpu();
  torch::Tensor host = torch::empty({out.size(0)}, torch::kLong);
  for (int64_t b = 0; b < host.size(0); ++b) {
    const auto id = static_cast<uint64_t>(host_ids.data_ptr<int64_t>()[b]);
    host.data_ptr<int64_t>()[b] = low + uniform_below(philox(key, id, 0, 0).w[0], count);
  }
  out.copy_(host);
}

void fill_uniform_(const torch::Tensor& out, RngKey key, uint64_t id, double bound) {
  TORCH_CHECK(out.device().is_cpu(), "fill_uniform_ draws on the CPU");
  const torch::Tensor numbers = torch::empty(out.sizes(), torch::kDouble);
  double* p = numbers.data_ptr<double>();
  for (int64_t i = 0; i < numbers.numel(); i += 4) {
    const Words words = philox(key, id, 0, static_cast<uint32_t>(i / 4));
    for (int64_t k = 0; k < 4 && i + k < numbers.numel(); ++k) {
      p[i + k] = bound * (2.0 * uniform_open(words.w[k]) - 1.0);
    }
  }
  const torch::NoGradGuard no_grad;
  out.copy_(numbers);
}

}  // namespace ddpm::kernels
