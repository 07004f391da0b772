#include "ddpm/base/error.h"
#include "ddpm/io/foreign_text.h"
#include "ddpm/io/torch_file.h"
#include "pickle.h"

#include <fmt/format.h>

namespace ddpm::io {

TorchValue read_pickle_file(const std::filesystem::path& path) {
  constexpr uint64_t kMaxBytes = uint64_t{1} << 30;
  refuse_foreign_text(path);
  const InputFile file(path);
  if (file.size() > kMaxBytes)
    throw IoError(
        path, fmt::format("has {} bytes; pickles above {} are not read", file.size(), kMaxBytes));
  std::vector<uint8_t> all(file.size());
  file.read_at(0, all);
  const std::string name = path.string();
  std::span<const uint8_t> bytes(all);
  const auto none = [&](const std::string&, torch::ScalarType, int64_t) -> torch::Tensor {
    throw IoError(path, "refers to memory outside of itself; only torch.save's files may");
  };
  return unpickle(bytes, name, none, NumpyArrays::kTensors);
}

}  // namespace ddpm::io
