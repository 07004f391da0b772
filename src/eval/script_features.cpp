#include "script_features.h"

#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/io/checksum.h"
#include "ddpm/nn/script_module.h"

#include <optional>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/utils.h>

namespace ddpm::eval {
namespace {

namespace fs = std::filesystem;

torch::Tensor pooled(const torch::Tensor& x) {
  return (x.dim() == 4 ? x.mean(torch::IntArrayRef{2, 3}) : x.flatten(1)).to(torch::kFloat);
}

class ScriptFeatures final : public FeatureExtractor {
 public:
  ScriptFeatures(const fs::path& file, const torch::Device& device) : path_(file), device_(device) {
    module_ = nn::load_script(file, device);
    try {
      detector_ = module_.get_method("forward")
                      .function()
                      .getSchema()
                      .argumentIndexWithName("return_features")
                      .has_value();
    } catch (const c10::Error& error) {
      throw IoError(file, fmt::format("is not a TorchScript network: {}", first_line(error)));
    }
    if (detector_ && module_.hasattr("output")) {
      const torch::jit::Module output = module_.attr("output").toModule();
      if (output.hasattr("weight")) output_weight_ = output.attr("weight").toTensor();
    }
    const std::string name = file.filename().string();
    const bool inception = detector_ && name.find("inception-2015-12-05") != std::string::npos;
    description_ = {inception ? "Inception 2015-12-05 (" + name + ")" : "TorchScript " + name,
                    io::sha256_of_file(file), "by the network itself",
                    inception ? "FID" : fmt::format("Frechet distance (features of {})", name)};
  }

  const ExtractorDescription& description() const override { return description_; }

 private:
  Features compute(const torch::Tensor& images) const override {
    const torch::Tensor rgb = to_rgb(images).to(device_);
    torch::jit::Kwargs named;
    if (detector_) named["return_features"] = true;
    Features features;
    nn::run_script(path_, "uint8 images [B,3,H,W]", [&] {
      features = features_of(module_.forward({rgb}, named));
      expect_usable(features.pooled, rgb.size(0));
    });
    return features;
  }

  static void expect_usable(const torch::Tensor& pooled, int64_t images) {
    if (pooled.dim() != 2 || pooled.size(0) != images || pooled.size(1) == 0)
      throw std::runtime_error(fmt::format("for {} images it returns features [{}]", images,
                                           fmt::join(pooled.sizes(), ", ")));
    if (!pooled.isfinite().all().item<bool>())
      throw std::runtime_error("it returns features that are NaN or infinite");
  }

  Features features_of(const c10::IValue& value) const {
    Features f;
    if (value.isTensor()) {
      f.pooled = pooled(value.toTensor());
      if (output_weight_.defined())
        f.logits = f.pooled.matmul(output_weight_.t().to(torch::kFloat));
    } else if (value.isTuple()) {
      const auto& parts = value.toTupleRef().elements();
      if (!parts.empty()) f.pooled = pooled(parts[0].toTensor());
      if (parts.size() > 1) f.logits = parts[1].toTensor();
      if (parts.size() > 2) f.spatial = parts[2].toTensor().flatten(1);
    } else if (value.isGenericDict()) {
      const auto parts = value.toGenericDict();
      const auto part = [&](const char* name) {
        const auto found = parts.find(name);
        return found == parts.end() ? torch::Tensor() : found->value().toTensor();
      };
      if (part("features").defined()) f.pooled = pooled(part("features"));
      f.logits = part("logits");
      if (part("spatial").defined()) f.spatial = part("spatial").flatten(1);
    }
    if (!f.pooled.defined()) {
      throw IoError(path_,
                    "gives no features: forward() must return a tensor, a tuple (features, "
                    "logits, spatial) or a dict with these names");
    }
    return f;
  }

  fs::path path_;
  torch::Device device_;
  mutable torch::jit::Module module_;
  bool detector_ = false;
  torch::Tensor output_weight_;
  ExtractorDescription description_;
};

}  // namespace

std::unique_ptr<FeatureExtractor> open_script_features(const fs::path& file,
                                                       const torch::Device& device) {
  return std::make_unique<ScriptFeatures>(file, device);
}

}  // namespace ddpm::eval
