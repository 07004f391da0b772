#include "cache_file.h"

#include "ddpm/base/error.h"
#include "ddpm/io/checksum.h"
#include "ddpm/io/file.h"

#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <torch/utils.h>

namespace ddpm::eval {
namespace {

namespace fs = std::filesystem;
using Tensors = std::map<std::string, torch::Tensor>;

constexpr const char* kChecksum = "crc32c";

// Sorted by name.
std::string checksum_of(const Tensors& tensors) {
  uint32_t sum = 0;
  for (const auto& [name, tensor] : tensors) {
    const std::string head = fmt::format("{} {} [{}]", name, torch::toString(tensor.scalar_type()),
                                         fmt::join(tensor.sizes(), ","));
    sum = io::crc32c(head, sum);
    sum = io::crc32c({static_cast<const uint8_t*>(tensor.const_data_ptr()), tensor.nbytes()}, sum);
  }
  return fmt::format("{:08x}", sum);
}

Tensors read_checked(const fs::path& path, const std::vector<std::string>& names) {
  const auto file = io::SafetensorsFile::open(path);
  Tensors tensors;
  for (const std::string& name : file.names()) tensors[name] = file.get(name);
  const auto sum = file.metadata().find(kChecksum);
  if (sum == file.metadata().end() || sum->second != checksum_of(tensors))
    throw IoError(path, "has another checksum than when it was written");
  for (const std::string& name : names)
    if (!tensors.contains(name)) throw IoError(path, fmt::format("lacks {}", name));
  return tensors;
}

}  // namespace

void write_cached(const fs::path& file, const std::vector<io::NamedTensor>& tensors,
                  io::Metadata metadata) {
  Tensors host;
  std::vector<io::NamedTensor> written;
  for (const auto& [name, tensor] : tensors)
    written.push_back({name, host[name] = tensor.detach().cpu().contiguous()});
  metadata[kChecksum] = checksum_of(host);
  io::make_folder(file.parent_path());
  io::write_safetensors(file, written, metadata);
}

std::optional<Tensors> read_cached(const fs::path& file, const std::vector<std::string>& names) {
  if (!fs::exists(file)) return std::nullopt;
  try {
    return read_checked(file, names);
  } catch (const IoError& error) {
    spdlog::warn("{}; it is damaged and will be rebuilt", error.what());
    return std::nullopt;
  }
}

}  // namespace ddpm::eval
