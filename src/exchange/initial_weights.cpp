#include "ddpm/exchange/model.h"

#include <algorithm>
#include <string>
#include <vector>

#include <torch/utils.h>

namespace ddpm::exchange {
namespace {

// Weights and bias of a vector embedding that reads the same numbers with another mean and
// deviation: z = (z' d' + m' - m) / d.
void restandardise_(std::vector<io::NamedTensor>& weights, const nn::VectorSpec& was,
                    const nn::VectorSpec& is) {
  const auto find = [&](const std::string& name) -> torch::Tensor& {
    return std::find_if(weights.begin(), weights.end(),
                        [&](const io::NamedTensor& w) { return w.name == name; })
        ->tensor;
  };
  const auto row = [](const std::vector<double>& numbers) {
    return torch::tensor(numbers, torch::kDouble);
  };
  torch::Tensor &weight = find("vector_embedding.weight"), &bias = find("vector_embedding.bias");
  const torch::Tensor exact = weight.to(torch::kDouble) / row(was.deviation);
  bias = (bias.to(torch::kDouble) + torch::mv(exact, row(is.mean) - row(was.mean)))
             .to(bias.scalar_type());
  weight = (exact * row(is.deviation)).to(weight.scalar_type());
}

}  // namespace

Model widened(Model model, const nn::UNetConfig& unet) {
  for (io::NamedTensor& weight : model.weights) {
    if (weight.name != "conv_in.weight") continue;
    std::vector<int64_t> sizes = weight.tensor.sizes().vec();
    sizes[1] = nn::input_channels(unet) - sizes[1];
    weight.tensor = torch::cat({weight.tensor, torch::zeros(sizes, weight.tensor.options())}, 1);
  }
  if (unet.augment_labels && !model.description.unet.augment_labels)
    model.weights.push_back(
        {"augment_embedding.weight", torch::zeros({unet.channels, nn::kAugmentLabels})});
  if (!unet.vector_conditional) return model;
  const nn::UNetConfig& was = model.description.unet;
  if (was.vector_conditional) {
    if (was.vectors.mean != unet.vectors.mean || was.vectors.deviation != unet.vectors.deviation)
      restandardise_(model.weights, was.vectors, unet.vectors);
    return model;
  }
  const int64_t width = 4 * unet.channels;
  model.weights.push_back({"vector_embedding.weight", torch::zeros({width, unet.vectors.width()})});
  model.weights.push_back({"vector_embedding.bias", torch::zeros({width})});
  return model;
}

}  // namespace ddpm::exchange
