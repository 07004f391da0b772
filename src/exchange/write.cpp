#include "ddpm/exchange/write.h"

#include "ddpm/base/error.h"
#include "ddpm/exchange/model_text.h"
#include "ddpm/io/folder.h"
#include "ddpm/io/torch_file.h"
#include "diffusers_folder.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <torch/serialize/output-archive.h>

namespace ddpm::exchange {
namespace {

namespace fs = std::filesystem;

// Other programs choose their reader by a file's ending.
void check_ending(const fs::path& destination, Format format) {
  const std::string ending = destination.extension().string();
  constexpr std::array<std::string_view, 4> kTorch = {".pt", ".pth", ".ckpt", ".bin"};
  const bool torch = std::find(kTorch.begin(), kTorch.end(), ending) != kTorch.end();
  const bool safetensors = ending == ".safetensors";
  const bool wrong = format == Format::kSafetensors ? torch
                     : format == Format::kDiffusers ? torch || safetensors
                                                    : safetensors;
  if (!wrong) return;
  throw UsageError(fmt::format("{}: --to {} does not write what other programs expect of {}; {}",
                               destination.string(), config::to_string(format), ending,
                               format == Format::kDiffusers ? "name a folder without such an ending"
                               : format == Format::kSafetensors ? "end its name with .safetensors"
                                                                : "end its name with .pt"));
}

std::string whole_text(const Model& model) {
  return nn::to_toml(model.description) + "\n" + config::to_toml(model.sample, "sample");
}

void write_module(const Model& model, const fs::path& destination) {
  const nn::UNet unet = make_unet(model, torch::kCPU,
                                  model.weights.front().tensor.scalar_type() == torch::kDouble
                                      ? nn::Precision::kFp64
                                      : nn::Precision::kFp32);
  torch::serialize::OutputArchive archive;
  unet->save(archive);
  io::write_file_atomic(destination, [&](io::OutputFile& file) {
    archive.save_to([&](const void* bytes, size_t count) {
      file.write(std::span(static_cast<const uint8_t*>(bytes), count));
      return count;
    });
  });
}

}  // namespace

void write_model(const Model& model, const fs::path& destination, Format format) {
  check_ending(destination, format);
  io::expect_absent(destination);
  switch (format) {
    case Format::kDiffusers:
      return io::write_folder_atomic(
          destination, [&](const fs::path& folder) { write_diffusers_folder(model, folder); });
    case Format::kSafetensors:
      io::write_safetensors(destination, model.weights,
                            {{"format", "pt"}, {kDescriptionKey, whole_text(model)}});
      return;
    case Format::kTorch:
      io::write_torch_file(destination, model.weights, {{kDescriptionKey, whole_text(model)}});
      return;
    case Format::kTorchModule:
      return write_module(model, destination);
  }
}

}  // namespace ddpm::exchange
