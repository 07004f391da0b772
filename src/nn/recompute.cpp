#include "ddpm/nn/recompute.h"

#include "ddpm/nn/precision.h"

#include <optional>

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

namespace ddpm::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// What the backward pass needs besides the tensors.
struct Kept : torch::CustomClassHolder {
  Part part;
  int64_t inputs = 0;
  Precision precision = Precision::kFp32;  // kBf16: was autocast
  torch::Tensor generator_state;           // undefined: nothing is drawn
};

// While it lives, the device's generator continues from `state`, if that is defined.
class GeneratorGuard {
 public:
  GeneratorGuard(const torch::Device& device, const torch::Tensor& state) {
    if (!state.defined()) return;
    generator_ = at::globalContext().defaultGenerator(device);
    before_ = generator_->get_state();
    generator_->set_state(state);
  }
  ~GeneratorGuard() {
    if (generator_) generator_->set_state(before_);
  }
  GeneratorGuard(const GeneratorGuard&) = delete;
  GeneratorGuard& operator=(const GeneratorGuard&) = delete;

 private:
  std::optional<at::Generator> generator_;
  torch::Tensor before_;
};

// Autocast caches casts of weights. A cast of the forward pass, which records no graph, would cut
// the weight's gradient in the backward pass.
class NoCastCache {
 public:
  NoCastCache() : was_(at::autocast::is_autocast_cache_enabled()) {
    at::autocast::set_autocast_cache_enabled(false);
  }
  ~NoCastCache() { at::autocast::set_autocast_cache_enabled(was_); }
  NoCastCache(const NoCastCache&) = delete;
  NoCastCache& operator=(const NoCastCache&) = delete;

 private:
  bool was_;
};

class RecomputeFunction : public torch::autograd::Function<RecomputeFunction> {
 public:
  // tensors: the part's inputs, then its parameters.
  static torch::Tensor forward(AutogradContext* context, const c10::intrusive_ptr<Kept>& kept,
                               at::TensorList tensors) {
    context->save_for_backward(tensors.vec());
    context->saved_data["kept"] = c10::IValue::make_capsule(kept);
    const NoCastCache no_cache;
    return kept->part({tensors.begin(), tensors.begin() + kept->inputs});
  }

  // Gradients of the parameters are returned, not accumulated here: hooks on a
  // parameter's gradient run once.
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto kept =
        c10::static_intrusive_pointer_cast<Kept>(context->saved_data["kept"].toCapsule());
    variable_list tensors = context->get_saved_variables();
    variable_list sources;
    for (size_t i = 0; i < tensors.size(); ++i) {
      const bool wanted = tensors[i].requires_grad();
      if (static_cast<int64_t>(i) < kept->inputs)
        tensors[i] = tensors[i].detach().set_requires_grad(wanted);
      if (wanted) sources.push_back(tensors[i]);
    }
    torch::Tensor output;
    {
      const torch::AutoGradMode with_gradients(true);
      const torch::Device device = tensors[0].device();
      const GeneratorGuard generator(device, kept->generator_state);
      const AutocastGuard autocast(device.type(), kept->precision);
      const NoCastCache no_cache;
      output = kept->part({tensors.begin(), tensors.begin() + kept->inputs});
    }
    const variable_list found = torch::autograd::grad({output}, sources, gradients, std::nullopt,
                                                      false, /*allow_unused=*/true);
    variable_list results(1);  // `kept` has none
    size_t next = 0;
    for (const torch::Tensor& t : tensors)
      results.push_back(t.requires_grad() ? found[next++] : torch::Tensor());
    return results;
  }
};

}  // namespace

torch::Tensor recompute(const Part& part, const std::vector<torch::Tensor>& inputs,
                        const std::vector<torch::Tensor>& parameters, bool random) {
  if (!torch::GradMode::is_enabled()) return part(inputs);
  const torch::Device device = inputs.at(0).device();
  const auto kept = c10::make_intrusive<Kept>();
  kept->part = part;
  kept->inputs = static_cast<int64_t>(inputs.size());
  if (at::autocast::is_autocast_enabled(device.type())) kept->precision = Precision::kBf16;
  if (random) kept->generator_state = at::globalContext().defaultGenerator(device).get_state();
  variable_list tensors = inputs;
  tensors.insert(tensors.end(), parameters.begin(), parameters.end());
  return RecomputeFunction::apply(kept, at::TensorList(tensors));
}

}  // namespace ddpm::nn
