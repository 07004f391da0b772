#include "check.h"
#include "multi_tensor.h"
#include "vector.h"

#include <algorithm>

#include <cuda_bf16.h>
#include <cuda_runtime.h>

// A launch gets a table of up to kSpans tensors as its argument (4 KiB at most). Each thread block
// finds its tensor by bisection, and works on kBlockSize numbers of it, four at a time.

namespace ddpm::kernels::cuda {
namespace {

constexpr int kThreads = 256, kSpans = 128;
constexpr int64_t kBlockSize = 8192;

struct Table {
  Span spans[kSpans];
  int32_t first_block[kSpans + 1];
  int32_t count;
};

struct Part {
  const Span* span;
  int64_t begin, end;
};

__device__ Part part_of(const Table& table) {
  int low = 0, high = table.count;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (table.first_block[middle] <= static_cast<int>(blockIdx.x)) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const Span& span = table.spans[low];
  const int64_t begin = (static_cast<int>(blockIdx.x) - table.first_block[low]) * kBlockSize;
  return {&span, begin, begin + kBlockSize < span.count ? begin + kBlockSize : span.count};
}

// operation(from, &to) of each pair of numbers. Whole tensors begin at multiples of 16 bytes.
template <class From, class To, class Operation>
__global__ void each_kernel(const __grid_constant__ Table table, Operation operation) {
  const Part part = part_of(table);
  const auto* from = static_cast<const From*>(part.span->from);
  auto* to = static_cast<To*>(part.span->to);
  const bool aligned = reinterpret_cast<uintptr_t>(from) % (4 * sizeof(From)) == 0 &&
                       reinterpret_cast<uintptr_t>(to) % (4 * sizeof(To)) == 0;
  const auto scalar = operation.prepared();
  for (int64_t i = part.begin + int64_t{4} * threadIdx.x; i < part.end; i += 4 * kThreads) {
    if (aligned && i + 4 <= part.end) {
      const auto a = *reinterpret_cast<const Pack<From, 4>*>(from + i);
      Pack<To, 4> b;
      if constexpr (Operation::kReadsTo) b = *reinterpret_cast<const Pack<To, 4>*>(to + i);
      for (int k = 0; k < 4; ++k) operation(scalar, a.v[k], b.v[k]);
      *reinterpret_cast<Pack<To, 4>*>(to + i) = b;
    } else {
      for (int64_t j = i; j < i + 4 && j < part.end; ++j) operation(scalar, from[j], to[j]);
    }
  }
}

struct Convert {
  static constexpr bool kReadsTo = false;
  __device__ int prepared() const { return 0; }
  template <class From, class To>
  __device__ void operator()(int, const From& from, To& to) const {
    to = static_cast<To>(from);
  }
};

struct Lerp {
  static constexpr bool kReadsTo = true;
  const float* weight;
  __device__ float prepared() const { return *weight; }
  __device__ void operator()(float w, const float& from, float& to) const {
    // As ATen: exact at both ends.
    to = w < 0.5f ? to + w * (from - to) : from - (from - to) * (1.0f - w);
  }
};

template <class From, class To, class Operation>
void for_each(const Span* spans, int64_t count, const Operation& operation, cudaStream_t stream) {
  for (int64_t first = 0; first < count; first += kSpans) {
    Table table;
    table.count = static_cast<int32_t>(std::min<int64_t>(kSpans, count - first));
    int64_t blocks = 0;
    for (int32_t i = 0; i < table.count; ++i) {
      table.spans[i] = spans[first + i];
      table.first_block[i] = static_cast<int32_t>(blocks);
      blocks += (table.spans[i].count + kBlockSize - 1) / kBlockSize;
    }
    table.first_block[table.count] = static_cast<int32_t>(blocks);
    if (blocks == 0) continue;
    each_kernel<From, To><<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(table, operation);
  }
  check_launch("multi_tensor");
}

}  // namespace

void convert(Element from, const Span* spans, int64_t count, void* stream) {
  const auto queue = static_cast<cudaStream_t>(stream);
  if (from == Element::kFloat) {
    for_each<float, __nv_bfloat16>(spans, count, Convert{}, queue);
  } else {
    for_each<__nv_bfloat16, float>(spans, count, Convert{}, queue);
  }
}

void lerp(const Span* spans, int64_t count, const float* weight, void* stream) {
  for_each<float, float>(spans, count, Lerp{weight}, static_cast<cudaStream_t>(stream));
}

}  // namespace ddpm::kernels::cuda
