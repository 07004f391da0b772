#include "ddpm/base/error.h"
#include "ddpm/nn/script_module.h"

#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/api/module.h>

namespace ddpm::nn {

struct ScriptGuide::Loaded {
  std::filesystem::path file;
  mutable torch::jit::Module module;
  int64_t classes = 0;
  torch::Tensor labels;  // int64 [B], of the present batch

  // What the network returns for x [B,C,H,W] and t in 1..T.
  torch::Tensor output(const torch::Tensor& x, const torch::Tensor& t) const {
    torch::Tensor result;
    run_script(file,
               fmt::format("float32 [{}] and int64 t [{}]", fmt::join(x.sizes(), ","), x.size(0)),
               [&] {
                 const c10::IValue made = module.forward({x, t - 1});
                 if (!made.isTensor()) throw std::runtime_error("it returns no tensor");
                 result = made.toTensor();
               });
    return result;
  }

  torch::Tensor score(const torch::Tensor& x_t, const torch::Tensor& t) const {
    const torch::AutoGradMode with_gradient(true);
    const torch::Tensor x = x_t.detach().to(torch::kFloat).requires_grad_(true);
    const torch::Tensor made = output(x, t);
    if (made.sizes() == x.sizes()) return made.detach();
    torch::Tensor log_density = made;
    if (classes > 0) {
      const torch::Tensor chosen = labels.narrow(0, 0, x.size(0)).unsqueeze(1);
      log_density = made.to(torch::kFloat).log_softmax(1).gather(1, chosen);
    }
    return torch::autograd::grad({log_density.sum()}, {x})[0];
  }
};

ScriptGuide::ScriptGuide(const std::filesystem::path& file, const torch::Device& device,
                         const std::vector<int64_t>& shape)
    : loaded_(std::make_unique<Loaded>()) {
  loaded_->file = file;
  loaded_->module = load_script(file, device);
  for (const torch::Tensor& parameter : loaded_->module.parameters())
    parameter.requires_grad_(false);
  std::vector<int64_t> batch{2};
  batch.insert(batch.end(), shape.begin(), shape.end());
  const torch::Tensor x = torch::zeros(batch, torch::dtype(torch::kFloat).device(device));
  const torch::AutoGradMode with_gradient(true);
  const torch::Tensor made = loaded_->output(
      x.requires_grad_(true), torch::ones({2}, torch::dtype(torch::kLong).device(device)));
  const bool logits = made.dim() == 2 && made.size(0) == 2 && made.size(1) >= 2;
  const bool density = made.dim() == 1 && made.size(0) == 2;
  if (!logits && !density && made.sizes() != x.sizes())
    throw IoError(file, fmt::format("returns [{}] for two images; logits [2,K], log-densities [2] "
                                    "or scores [{}] can guide",
                                    fmt::join(made.sizes(), ","), fmt::join(x.sizes(), ",")));
  if ((logits || density) && !made.requires_grad())
    throw IoError(file,
                  "has no gradient with respect to the image; trace or script it with "
                  "gradients enabled");
  if (logits) loaded_->classes = made.size(1);
}

ScriptGuide::~ScriptGuide() = default;

int64_t ScriptGuide::classes() const { return loaded_->classes; }

void ScriptGuide::set_batch_(const torch::Tensor& classes) { loaded_->labels = classes; }

diffusion::Score ScriptGuide::score() const {
  return
      [this](const torch::Tensor& x_t, const torch::Tensor& t) { return loaded_->score(x_t, t); };
}

}  // namespace ddpm::nn
