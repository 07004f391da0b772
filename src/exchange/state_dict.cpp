#include "state_dict.h"

#include "ddpm/base/error.h"

#include <algorithm>

#include <fmt/format.h>

namespace ddpm::exchange {
namespace {

namespace fs = std::filesystem;
using io::TorchValue;

bool holds_tensors(const TorchValue& value) {
  return value.is_dict() && std::any_of(value.entries.begin(), value.entries.end(),
                                        [](const auto& e) { return e.second.is_tensor(); });
}

std::vector<io::NamedTensor> tensors_of(const TorchValue& dict) {
  constexpr std::string_view kParallel = "module.";  // torch.nn.DataParallel's prefix
  std::vector<io::NamedTensor> tensors;
  for (const auto& [name, value] : dict.entries) {
    if (!value.is_tensor()) continue;
    tensors.push_back(
        {name.starts_with(kParallel) ? name.substr(kParallel.size()) : name, value.tensor});
  }
  return tensors;
}

// ermongroup/ddim: [model, optimizer, epoch, step] and, if it kept one, the average.
StateDict ddim_list(const TorchValue& list, const std::string& weights, const fs::path& file) {
  if (list.items.empty() || !holds_tensors(list.items[0]))
    throw IoError(file, "is a list whose first entry is no state dict");
  const bool averaged = list.items.size() > 4 && holds_tensors(list.items[4]);
  if (weights == "ema" && !averaged)
    throw UsageError(fmt::format("--weights ema: {} has raw weights alone", file.string()));
  if (weights != "raw" && averaged)
    return {tensors_of(list.items[4]), "its averaged weights", "ema"};
  return {tensors_of(list.items[0]), averaged ? "its raw weights" : "it has no average", "raw"};
}

// The first of `keys` with tensors below it, as a state dict; no tensors if there is none.
StateDict entry_of(const TorchValue& value, std::initializer_list<const char*> keys,
                   const std::string& weights) {
  for (const char* key : keys) {
    const TorchValue* inner = value.find(key);
    if (inner && holds_tensors(*inner))
      return {tensors_of(*inner), fmt::format("its \"{}\"", key), weights};
  }
  return {};
}

// A dict that has the trained weights, the averaged ones or both, each under a name of its own. No
// tensors: it is not such a dict.
StateDict dict_entry(const TorchValue& value, const std::string& weights, const fs::path& file) {
  StateDict ema =
      entry_of(value, {"ema_state_dict", "state_dict_ema", "model_ema", "ema_model", "ema"}, "ema");
  StateDict raw = entry_of(value, {"state_dict", "model_state_dict", "model"}, "raw");
  if (ema.tensors.empty()) {
    if (!raw.tensors.empty()) expect_choice(weights, "", file);
    raw.weights.clear();  // one set, which may be either
    return raw;
  }
  if (raw.tensors.empty()) expect_choice(weights, ema.weights, file);
  return weights == "raw" ? raw : ema;
}

// lucidrains: the whole GaussianDiffusion, network and tables, under "model".
bool is_lucidrains(const TorchValue& value) {
  const TorchValue* model = value.find("model");
  const TorchValue* flat = model && model->is_dict() ? model : &value;
  return flat->find("model.init_conv.weight") || flat->find("init_conv.weight") ||
         flat->find("denoise_fn.init_conv.weight");
}

}  // namespace

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
  if (!weights.empty() && weights != "ema" && weights != "raw")
    throw UsageError(fmt::format("--weights {}: {} has ema or raw", weights, file.string()));
  const TorchValue value = io::read_torch_file(file);
  if (value.is_list()) return ddim_list(value, weights, file);
  if (is_lucidrains(value)) {
    throw IoError(
        file,
        "is a network of denoising-diffusion-pytorch (7x7 first convolution, RMS norms, "
        "linear attention), which this one cannot express; train anew, or export from there");
  }
  StateDict entry = dict_entry(value, weights, file);
  if (!entry.tensors.empty()) return entry;
  if (!holds_tensors(value)) throw IoError(file, "holds no state dict: no names with tensors");
  expect_choice(weights, "", file);
  return {tensors_of(value), "", ""};
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
  const auto index = [](const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) - names.begin();
  };
  if (hints.schedule)
    c.schedule.kind =
        static_cast<diffusion::ScheduleKind>(index(diffusion::schedule_names(), *hints.schedule));
  if (hints.prediction)
    c.prediction =
        static_cast<diffusion::Prediction>(index(diffusion::prediction_names(), *hints.prediction));
  if (betas_by_steps) {
    const double scale = 1000.0 / static_cast<double>(c.schedule.timesteps);
    c.schedule.beta_start *= scale;
    c.schedule.beta_end *= scale;
  }
  return c;
}

}  // namespace ddpm::exchange
