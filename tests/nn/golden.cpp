#include "golden.h"

#include <sstream>

#include <torch/types.h>
#include <torch/utils.h>

namespace ddpm::nn {
namespace {

UNetConfig golden_config(const io::SafetensorsFile& file) {
  ImageSpec image;
  std::istringstream(file.metadata().at("image")) >> image.channels >> image.height >>
      image.width >> image.classes;
  config::Document document = config::Document::parse(file.metadata().at("config"), "golden");
  config::Reader reader = document.section("model");
  UNetConfig config = read_unet_config(reader);
  fit_to_images_(config, image, reader);
  document.check_all_read();
  return config;
}

}  // namespace

torch::Tensor Golden::labels() const {
  return config.class_conditional ? file.get("labels") : torch::Tensor();
}

double Golden::tolerance() const {
  const torch::Tensor ours = sinusoidal_embedding(get("t"), config.channels, config.sinusoid);
  return 1e-9 + 10.0 * (ours - get("time_features")).abs().max().item<double>();
}

Golden load_golden(const std::string& name) {
  auto file =
      io::SafetensorsFile::open(DDPM_SOURCE_DIR "/tests/golden/unet_" + name + ".safetensors");
  const UNetConfig config = golden_config(file);
  UNet net(config);
  net->to(torch::kDouble);
  const torch::NoGradGuard no_grad;
  for (auto& item : net->named_parameters()) item.value().copy_(file.get("param/" + item.key()));
  return {std::move(file), config, net};
}

double relative_error(const torch::Tensor& actual, const torch::Tensor& expected) {
  TORCH_CHECK(actual.sizes() == expected.sizes(), "shapes differ");
  const double scale = expected.abs().max().item<double>();
  return (actual - expected).abs().max().item<double>() / scale;
}

}  // namespace ddpm::nn
