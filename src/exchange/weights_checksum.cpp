#include "ddpm/base/error.h"
#include "ddpm/checkpoint/manifest.h"
#include "ddpm/exchange/model.h"
#include "ddpm/io/checksum.h"
#include "ddpm/io/file.h"

#include <filesystem>

#include <fmt/format.h>

namespace ddpm::exchange {
namespace {

namespace fs = std::filesystem;

// Reads it from the checkpoint's manifest. The file was already compared with it.
uint32_t checksum_in_manifest(const fs::path& file) {
  const fs::path path = file.parent_path() / checkpoint::kManifestName;
  for (const checkpoint::CheckpointFile& f :
       checkpoint::parse_manifest(path, io::read_text(path)).files) {
    if (f.name == file.filename()) return f.sum.crc32c;
  }
  throw IoError(path, fmt::format("does not list {}", file.filename().string()));
}

}  // namespace

uint32_t weights_checksum(const Model& model) {
  if (model.rebuilt) return checkpoint::checksum(*model.rebuilt);
  if (model.is_checkpoint) return checksum_in_manifest(model.weights_file);
  uint32_t sum = 0;
  for (const io::NamedTensor& weight : model.weights) {
    const torch::Tensor tensor = weight.tensor.contiguous();
    sum = io::crc32c({static_cast<const uint8_t*>(tensor.const_data_ptr()), tensor.nbytes()}, sum);
  }
  return sum;
}

}  // namespace ddpm::exchange
