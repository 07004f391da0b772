#include "inception.h"

#include "ddpm/base/error.h"
#include "ddpm/io/checksum.h"
#include "ddpm/io/safetensors.h"
#include "ddpm/io/torch_file.h"

#include <functional>

#include <fmt/format.h>
#include <torch/utils.h>

namespace ddpm::eval {
namespace {

namespace fs = std::filesystem;
using Unit = MixedBlockImpl::Unit;
using Units = std::vector<Unit>;

torch::Tensor average(const torch::Tensor& x) {
  return torch::avg_pool2d(x, {3, 3}, {1, 1}, {1, 1}, /*ceil_mode=*/false,
                           /*count_include_pad=*/false);
}
torch::Tensor shrink(const torch::Tensor& x) { return torch::max_pool2d(x, {3, 3}, {2, 2}); }
torch::Tensor join(const std::vector<torch::Tensor>& branches) { return torch::cat(branches, 1); }

// 35x35: 1x1, 5x5, two 3x3 in a row, pool.
Units units_a(int64_t in, int64_t pool) {
  return {{"branch1x1", in, 64, 1, 1},
          {"branch5x5_1", in, 48, 1, 1},
          {"branch5x5_2", 48, 64, 5, 5, 1, 2, 2},
          {"branch3x3dbl_1", in, 64, 1, 1},
          {"branch3x3dbl_2", 64, 96, 3, 3, 1, 1, 1},
          {"branch3x3dbl_3", 96, 96, 3, 3, 1, 1, 1},
          {"branch_pool", in, pool, 1, 1}};
}
torch::Tensor forward_a(MixedBlock& b, const torch::Tensor& x) {
  return join({b->chain(x, {"branch1x1"}), b->chain(x, {"branch5x5_1", "branch5x5_2"}),
               b->chain(x, {"branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"}),
               b->chain(average(x), {"branch_pool"})});
}

// 35x35 -> 17x17.
Units units_b(int64_t in) {
  return {{"branch3x3", in, 384, 3, 3, 2},
          {"branch3x3dbl_1", in, 64, 1, 1},
          {"branch3x3dbl_2", 64, 96, 3, 3, 1, 1, 1},
          {"branch3x3dbl_3", 96, 96, 3, 3, 2}};
}
torch::Tensor forward_b(MixedBlock& b, const torch::Tensor& x) {
  return join({b->chain(x, {"branch3x3"}),
               b->chain(x, {"branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"}), shrink(x)});
}

// 17x17: 1x1, 7x7 as 1x7 and 7x1, twice that, pool.
Units units_c(int64_t in, int64_t mid) {
  return {{"branch1x1", in, 192, 1, 1},
          {"branch7x7_1", in, mid, 1, 1},
          {"branch7x7_2", mid, mid, 1, 7, 1, 0, 3},
          {"branch7x7_3", mid, 192, 7, 1, 1, 3, 0},
          {"branch7x7dbl_1", in, mid, 1, 1},
          {"branch7x7dbl_2", mid, mid, 7, 1, 1, 3, 0},
          {"branch7x7dbl_3", mid, mid, 1, 7, 1, 0, 3},
          {"branch7x7dbl_4", mid, mid, 7, 1, 1, 3, 0},
          {"branch7x7dbl_5", mid, 192, 1, 7, 1, 0, 3},
          {"branch_pool", in, 192, 1, 1}};
}
torch::Tensor forward_c(MixedBlock& b, const torch::Tensor& x) {
  return join({b->chain(x, {"branch1x1"}),
               b->chain(x, {"branch7x7_1", "branch7x7_2", "branch7x7_3"}),
               b->chain(x, {"branch7x7dbl_1", "branch7x7dbl_2", "branch7x7dbl_3", "branch7x7dbl_4",
                            "branch7x7dbl_5"}),
               b->chain(average(x), {"branch_pool"})});
}

// 17x17 -> 8x8.
Units units_d(int64_t in) {
  return {{"branch3x3_1", in, 192, 1, 1},
          {"branch3x3_2", 192, 320, 3, 3, 2},
          {"branch7x7x3_1", in, 192, 1, 1},
          {"branch7x7x3_2", 192, 192, 1, 7, 1, 0, 3},
          {"branch7x7x3_3", 192, 192, 7, 1, 1, 3, 0},
          {"branch7x7x3_4", 192, 192, 3, 3, 2}};
}
torch::Tensor forward_d(MixedBlock& b, const torch::Tensor& x) {
  return join({b->chain(x, {"branch3x3_1", "branch3x3_2"}),
               b->chain(x, {"branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4"}),
               shrink(x)});
}

// 8x8: 1x1, 3x3 spread over 1x3 and 3x1, the same after another 3x3, pool.
Units units_e(int64_t in) {
  return {{"branch1x1", in, 320, 1, 1},
          {"branch3x3_1", in, 384, 1, 1},
          {"branch3x3_2a", 384, 384, 1, 3, 1, 0, 1},
          {"branch3x3_2b", 384, 384, 3, 1, 1, 1, 0},
          {"branch3x3dbl_1", in, 448, 1, 1},
          {"branch3x3dbl_2", 448, 384, 3, 3, 1, 1, 1},
          {"branch3x3dbl_3a", 384, 384, 1, 3, 1, 0, 1},
          {"branch3x3dbl_3b", 384, 384, 3, 1, 1, 1, 0},
          {"branch_pool", in, 192, 1, 1}};
}
torch::Tensor forward_e(MixedBlock& b, const torch::Tensor& x, const torch::Tensor& pool) {
  const torch::Tensor single = b->chain(x, {"branch3x3_1"});
  const torch::Tensor twice = b->chain(x, {"branch3x3dbl_1", "branch3x3dbl_2"});
  return join({b->chain(x, {"branch1x1"}), b->chain(single, {"branch3x3_2a"}),
               b->chain(single, {"branch3x3_2b"}), b->chain(twice, {"branch3x3dbl_3a"}),
               b->chain(twice, {"branch3x3dbl_3b"}), b->chain(pool, {"branch_pool"})});
}

// The tensors of a state dict by name.
std::function<torch::Tensor(const std::string&)> tensors_of(const fs::path& file) {
  if (file.extension() == ".safetensors") {
    auto open = std::make_shared<io::SafetensorsFile>(io::SafetensorsFile::open(file));
    return [open](const std::string& name) {
      return open->contains(name) ? open->get(name) : torch::Tensor();
    };
  }
  auto dict = std::make_shared<io::TorchValue>(io::read_torch_file(file));
  return [dict](const std::string& name) {
    const io::TorchValue* value = dict->find(name);
    return value != nullptr && value->is_tensor() ? value->tensor : torch::Tensor();
  };
}

class InceptionFeatures final : public FeatureExtractor {
 public:
  InceptionFeatures(const fs::path& file, const torch::Device& device) : device_(device) {
    const torch::NoGradGuard no_grad;
    const auto tensor_named = tensors_of(file);
    const auto load = [&](const std::string& name, torch::Tensor to) {
      if (name.ends_with("num_batches_tracked")) return;
      const torch::Tensor from = tensor_named(name);
      if (!from.defined() || from.sizes() != to.sizes()) {
        throw IoError(file, fmt::format("is not a state dict of Inception 2015-12-05: {} {}", name,
                                        from.defined() ? "has another shape" : "is missing"));
      }
      to.copy_(from);
    };
    for (auto& item : net_->named_parameters()) load(item.key(), item.value());
    for (auto& item : net_->named_buffers()) load(item.key(), item.value());
    net_->eval();
    net_->to(device_);
    const std::string hash = io::sha256_of_file(file), name = file.filename().string();
    const bool standard = hash == kInceptionSha256;
    description_ = {
        standard ? "Inception 2015-12-05 (pytorch-fid weights)" : "Inception, weights of " + name,
        hash, "bilinear to 299x299",
        standard ? "FID" : fmt::format("Frechet distance (Inception, weights of {})", name)};
  }

  const ExtractorDescription& description() const override { return description_; }

 private:
  Features compute(const torch::Tensor& images) const override {
    return net_->forward(to_rgb(images).to(device_).to(torch::kFloat) / 255.0);
  }

  torch::Device device_;
  mutable Inception net_;
  ExtractorDescription description_;
};

}  // namespace

ConvUnitImpl::ConvUnitImpl(const torch::nn::Conv2dOptions& options)
    : conv_(torch::nn::Conv2dOptions(options).bias(false)),
      bn_(torch::nn::BatchNorm2dOptions(options.out_channels()).eps(1e-3)) {
  register_module("conv", conv_);
  register_module("bn", bn_);
}

torch::Tensor ConvUnitImpl::forward(const torch::Tensor& x) {
  return bn_->forward(conv_->forward(x)).relu_();
}

MixedBlockImpl::MixedBlockImpl(const std::vector<Unit>& units) {
  for (const Unit& u : units) {
    const ConvUnit unit(torch::nn::Conv2dOptions(u.in, u.out, {u.kernel_h, u.kernel_w})
                            .stride(u.stride)
                            .padding({u.pad_h, u.pad_w}));
    units_.emplace(u.name, register_module(u.name, unit));
  }
}

torch::Tensor MixedBlockImpl::chain(torch::Tensor x, const std::vector<std::string>& names) {
  for (const std::string& name : names) x = units_.at(name)->forward(x);
  return x;
}

ConvUnit InceptionImpl::unit(const std::string& name, int64_t in, int64_t out, int64_t kernel,
                             int64_t stride, int64_t padding) {
  return register_module(
      name, ConvUnit(torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(padding)));
}

MixedBlock InceptionImpl::block(const std::string& name, const Units& units) {
  return register_module(name, MixedBlock(units));
}

InceptionImpl::InceptionImpl()
    : conv_1a_(unit("Conv2d_1a_3x3", 3, 32, 3, 2)),
      conv_2a_(unit("Conv2d_2a_3x3", 32, 32, 3)),
      conv_2b_(unit("Conv2d_2b_3x3", 32, 64, 3, 1, 1)),
      conv_3b_(unit("Conv2d_3b_1x1", 64, 80, 1)),
      conv_4a_(unit("Conv2d_4a_3x3", 80, 192, 3)),
      mixed_5b_(block("Mixed_5b", units_a(192, 32))),
      mixed_5c_(block("Mixed_5c", units_a(256, 64))),
      mixed_5d_(block("Mixed_5d", units_a(288, 64))),
      mixed_6a_(block("Mixed_6a", units_b(288))),
      mixed_6b_(block("Mixed_6b", units_c(768, 128))),
      mixed_6c_(block("Mixed_6c", units_c(768, 160))),
      mixed_6d_(block("Mixed_6d", units_c(768, 160))),
      mixed_6e_(block("Mixed_6e", units_c(768, 192))),
      mixed_7a_(block("Mixed_7a", units_d(768))),
      mixed_7b_(block("Mixed_7b", units_e(1280))),
      mixed_7c_(block("Mixed_7c", units_e(2048))),
      fc_(register_module("fc", torch::nn::Linear(2048, 1008))) {}

Features InceptionImpl::forward(const torch::Tensor& x) {
  const torch::Tensor input =
      torch::upsample_bilinear2d(x, {299, 299}, /*align_corners=*/false) * 2.0 - 1.0;
  torch::Tensor h = shrink(conv_2b_(conv_2a_(conv_1a_(input))));
  h = shrink(conv_4a_(conv_3b_(h)));
  h = forward_a(mixed_5d_, forward_a(mixed_5c_, forward_a(mixed_5b_, h)));
  h = forward_c(mixed_6c_, forward_c(mixed_6b_, forward_b(mixed_6a_, h)));
  Features f;
  // Channels last, as in TensorFlow.
  f.spatial = mixed_6d_->chain(h, {"branch1x1"}).narrow(1, 0, 7).permute({0, 2, 3, 1}).flatten(1);
  h = forward_c(mixed_6e_, forward_c(mixed_6d_, h));
  h = forward_d(mixed_7a_, h);
  h = forward_e(mixed_7b_, h, average(h));
  h = forward_e(mixed_7c_, h, torch::max_pool2d(h, {3, 3}, {1, 1}, {1, 1}));
  f.pooled = h.mean(torch::IntArrayRef{2, 3});
  f.logits = f.pooled.matmul(fc_->weight.t());  // the score was defined without the bias
  return f;
}

std::unique_ptr<FeatureExtractor> open_inception(const fs::path& file,
                                                 const torch::Device& device) {
  return std::make_unique<InceptionFeatures>(file, device);
}

}  // namespace ddpm::eval
