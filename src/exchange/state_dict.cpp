#include "state_dict.h"

#include "ddpm/base/error.h"
#include "networks_in.h"

#include <algorithm>

#include <fmt/format.h>

namespace ddpm::exchange {
namespace fs = std::filesystem;

void expect_choice(const std::string& weights, const std::string& has, const fs::path& source) {
  if (weights.empty() || weights == has) return;
  throw UsageError(
      has.empty()
          ? fmt::format("--weights {}: {} has one set of weights, which it calls "
                        "neither raw nor ema; leave out --weights",
                        weights, source.string())
          : fmt::format("--weights {}: {} has {} weights alone", weights, source.string(), has));
}

StateDict state_dict(const fs::path& file, const std::string& weights) {
  return choose_network(tensor_dicts(io::read_torch_file(file)), weights, file);
}

std::vector<io::NamedTensor> flat_state_dict(const fs::path& file) {
  std::vector<TensorDict> dicts = tensor_dicts(io::read_torch_file(file));
  if (dicts.empty() || !dicts.front().path.empty() || dicts.front().tensors.empty())
    throw IoError(file, "holds no state dict: no names with tensors");
  return std::move(dicts.front().tensors);
}

bool has_our_names(const std::vector<io::NamedTensor>& tensors) {
  return find_tensor(tensors, kOurAnchor) != nullptr;
}

const torch::Tensor* find_tensor(const std::vector<io::NamedTensor>& tensors,
                                 const std::string& name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const io::NamedTensor& t) { return t.name == name; });
  return found == tensors.end() ? nullptr : &found->tensor;
}

const torch::Tensor& get_tensor(const std::vector<io::NamedTensor>& tensors,
                                const std::string& name, const fs::path& source) {
  const torch::Tensor* found = find_tensor(tensors, name);
  if (!found || found->dim() == 0 || found->numel() == 0)
    throw IoError(source, fmt::format("holds no tensor {}, which such a network has", name));
  return *found;
}

int64_t count_of(const std::vector<io::NamedTensor>& tensors, const std::string& prefix,
                 const std::string& suffix) {
  int64_t count = 0;
  while (find_tensor(tensors, fmt::format("{}{}{}", prefix, count, suffix))) ++count;
  return count;
}

torch::Tensor as_linear(const torch::Tensor& weight) {
  const bool point = weight.dim() > 2 && weight.numel() == weight.size(0) * weight.size(1);
  return point ? weight.flatten(1) : weight;
}

diffusion::DiffusionConfig hinted_diffusion(const Hints& hints, bool betas_by_steps) {
  diffusion::DiffusionConfig c;
  c.schedule.timesteps = hints.timesteps.value_or(1000);
  if (hints.schedule)
    c.schedule.kind = config::value_named<diffusion::ScheduleKind>(*hints.schedule).value();
  if (hints.prediction)
    c.prediction = config::value_named<diffusion::Prediction>(*hints.prediction).value();
  if (betas_by_steps) {
    const double scale = 1000.0 / static_cast<double>(c.schedule.timesteps);
    c.schedule.beta_start *= scale;
    c.schedule.beta_end *= scale;
  }
  return c;
}

}  // namespace ddpm::exchange
