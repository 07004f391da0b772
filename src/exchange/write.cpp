#include "ddpm/exchange/write.h"

#include "ddpm/base/clock.h"
#include "ddpm/base/error.h"
#include "ddpm/checkpoint/manifest.h"
#include "ddpm/checkpoint/state.h"
#include "ddpm/io/file.h"
#include "ddpm/io/torch_file.h"
#include "diffusers_folder.h"
#include "model_text.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <torch/serialize/output-archive.h>
#include <torch/version.h>

namespace ddpm::exchange {
namespace {

namespace fs = std::filesystem;

// Other programs select the reader by file extension.
void check_ending(const fs::path& destination, Format format) {
  if (format == Format::kDdpm) return;
  const std::string ending = destination.extension().string();
  constexpr std::array<std::string_view, 4> kTorch = {".pt", ".pth", ".ckpt", ".bin"};
  const bool torch = std::find(kTorch.begin(), kTorch.end(), ending) != kTorch.end();
  const bool safetensors = ending == ".safetensors";
  const bool wrong = format == Format::kSafetensors ? torch
                     : format == Format::kDiffusers ? torch || safetensors
                                                    : safetensors;
  if (!wrong) return;
  throw UsageError(
      fmt::format("{}: --to {} does not write the format that other programs expect in {}; {}",
                  destination.string(), config::to_string(format), ending,
                  format == Format::kDiffusers     ? "name a folder without such an ending"
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

// Writes a checkpoint with one set of weights and no optimizer state, for sampling, evaluation or
// as initial weights.
void write_checkpoint(const Model& model, const fs::path& destination) {
  checkpoint::TrainingState state;
  state.dataset = fmt::format("unknown: imported ({})", model.origin);
  state.precision = "fp32";
  state.torch_version = TORCH_VERSION;
  state.saved_at = utc_now();
  io::write_folder_atomic(destination, [&](const fs::path& folder) {
    checkpoint::Manifest manifest;
    const auto add = [&](const std::string& name, const auto& write) {
      io::OutputFile file(folder / name);
      write(file);
      manifest.files.push_back({name, file.finish()});
    };
    const auto add_text = [&](const std::string& name, const std::string& text) {
      add(name, [&](io::OutputFile& file) { file.write(text); });
    };
    add("model.safetensors",
        [&](io::OutputFile& file) { io::write_safetensors(file, model.weights, {}); });
    add_text("model.toml", nn::to_toml(model.description));
    add_text("config.toml", config::to_toml(model.sample, "sample"));
    add_text("state.json", checkpoint::to_json_text(state));
    io::write_file_synced(folder / checkpoint::kManifestName, checkpoint::to_text(manifest));
  });
}

CardFacts named_after(const fs::path& destination, CardFacts card) {
  if (card.name.empty()) card.name = destination.filename().string();
  return card;
}

}  // namespace

void save(const Model& model, const fs::path& destination, Format format, const CardFacts& card) {
  check_ending(destination, format);
  io::expect_absent(destination);
  switch (format) {
    case Format::kDiffusers:
      return io::write_folder_atomic(destination, [&](const fs::path& folder) {
        write_diffusers_folder(model, folder, named_after(destination, card));
      });
    case Format::kSafetensors:
      io::write_safetensors(destination, model.weights,
                            {{"format", "pt"}, {kDescriptionKey, whole_text(model)}});
      return;
    case Format::kTorch:
      io::write_torch_file(destination, model.weights, {{kDescriptionKey, whole_text(model)}});
      return;
    case Format::kTorchModule:
      return write_module(model, destination);
    case Format::kDdpm:
      return write_checkpoint(model, destination);
  }
}

}  // namespace ddpm::exchange
