#include "cuda/kernels.h"
#include "ddpm/kernels/elementwise.h"
#include "device_call.h"

#include <torch/csrc/autograd/custom_function.h>

namespace ddpm::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

bool same_memory_order(const torch::Tensor& a, const torch::Tensor& b) {
  return a.is_non_overlapping_and_dense() && a.strides() == b.strides();
}

// Copies in the order of memory: `to` must be like `from`.
void convert_all(const variable_list& from, const variable_list& to) {
  const auto ready = [](const torch::Tensor& t) { return t.is_cuda() && cuda::cuda_kernels(); };
  std::vector<cuda::Span> spans;
  for (size_t i = 0; i < from.size(); ++i) {
    if (ready(from[i]) && same_memory_order(from[i], to[i])) {
      spans.push_back({from[i].const_data_ptr(), to[i].data_ptr(), from[i].numel()});
    } else {
      to[i].copy_(from[i]);
    }
  }
  if (spans.empty()) return;
  on_stream(from[0], [&](void* stream) {
    cuda::cuda_kernels()->convert(element_of(from[0]), spans.data(),
                                  static_cast<int64_t>(spans.size()), stream);
  });
}

variable_list converted(const variable_list& tensors, torch::Dtype type) {
  variable_list result;
  for (const torch::Tensor& t : tensors)
    result.push_back(torch::empty_like(t, t.options().dtype(type)));
  convert_all(tensors, result);
  return result;
}

class CastAllFunction : public torch::autograd::Function<CastAllFunction> {
 public:
  static variable_list forward(AutogradContext* context, at::TensorList tensors) {
    context->set_materialize_grads(false);
    return converted(tensors.vec(), torch::kBFloat16);
  }

  // A weight that was not used has no gradient.
  static variable_list backward(AutogradContext*, variable_list gradients) {
    variable_list defined;
    for (const torch::Tensor& g : gradients) {
      if (g.defined()) defined.push_back(g);
    }
    if (defined.empty()) return variable_list(gradients.size());
    const variable_list floats = converted(defined, torch::kFloat);
    size_t next = 0;
    for (torch::Tensor& g : gradients) {
      if (g.defined()) g = floats[next++];
    }
    return gradients;
  }
};

}  // namespace

std::vector<torch::Tensor> cast_all_to_bf16(const std::vector<torch::Tensor>& tensors) {
  if (tensors.empty()) return {};
  for (const torch::Tensor& t : tensors)
    TORCH_CHECK(t.scalar_type() == torch::kFloat, "float32 tensors are cast, not ",
                t.scalar_type());
  return CastAllFunction::apply(at::TensorList(tensors));
}

void lerp_all_(const std::vector<torch::Tensor>& to, const std::vector<torch::Tensor>& from,
               const torch::Tensor& weight) {
  TORCH_CHECK(to.size() == from.size(), to.size(), " tensors from ", from.size());
  if (to.empty()) return;
  bool fused = cuda::cuda_kernels() != nullptr && weight.scalar_type() == torch::kFloat;
  for (size_t i = 0; i < to.size(); ++i) {
    fused = fused && to[i].is_cuda() && to[i].scalar_type() == torch::kFloat &&
            from[i].scalar_type() == torch::kFloat && same_memory_order(to[i], from[i]);
  }
  if (!fused) {
    at::_foreach_lerp_(to, from, std::vector<torch::Tensor>(to.size(), weight));
    return;
  }
  std::vector<cuda::Span> spans;
  for (size_t i = 0; i < to.size(); ++i)
    spans.push_back({from[i].const_data_ptr(), to[i].data_ptr(), to[i].numel()});
  on_stream(to[0], [&](void* stream) {
    cuda::cuda_kernels()->lerp(spans.data(), static_cast<int64_t>(spans.size()),
                               weight.const_data_ptr<float>(), stream);
  });
}

}  // namespace ddpm::kernels
