#pragma once

#include "ddpm/io/file.h"

#include <filesystem>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include <torch/types.h>

// The safetensors format (https://github.com/huggingface/safetensors): a little-endian uint64 N; N
// bytes of JSON {name: {dtype, shape, data_offsets}, "__metadata__": {string: string}}; the
// tensors' bytes, row by row, without gaps. Types: F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL.

namespace ddpm::io {

struct NamedTensor {
  std::string name;
  torch::Tensor tensor;
};

using Metadata = std::map<std::string, std::string>;

/// Writes tensors of any device, shape and strides in logical (row-major) order; the header keeps
/// their order. The data of wide types comes first, so that every tensor is aligned to its type.
/// Only one tensor at a time is copied, and only where it is not contiguous CPU memory. Throws
/// IoError, also for a type that the format lacks; c10::Error for a name given twice.
void write_safetensors(OutputFile& file, const std::vector<NamedTensor>& tensors,
                       const Metadata& metadata = {});
/// The same, replacing the file at `path` as one step (write_file_atomic).
FileSum write_safetensors(const std::filesystem::path& path,
                          const std::vector<NamedTensor>& tensors, const Metadata& metadata = {});

/// Where a tensor lies in a safetensors file.
struct TensorInfo {
  torch::ScalarType dtype = torch::kFloat32;
  std::vector<int64_t> shape;
  uint64_t offset = 0;  ///< of its first byte, from the beginning of the file
  uint64_t bytes = 0;
};

/// Does the file begin as one? False if it cannot be read.
bool is_safetensors_file(const std::filesystem::path& path);

/// A safetensors file open for reading. Its header is trusted in nothing: open throws IoError,
/// naming the tensor and the problem, unless the tensors tile the file exactly.
class SafetensorsFile {
 public:
  static SafetensorsFile open(const std::filesystem::path& path);

  /// In the header's order.
  const std::vector<std::string>& names() const { return names_; }
  bool contains(const std::string& name) const { return tensors_.contains(name); }
  /// Throws IoError where there is no such tensor.
  const TensorInfo& info(const std::string& name) const;
  /// Reads one tensor into contiguous CPU memory of its own; thread-safe. Throws IoError where
  /// there is no such tensor, it cannot be read, or a BOOL is neither 0 nor 1.
  torch::Tensor get(const std::string& name) const;
  const Metadata& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return file_.path(); }

 private:
  explicit SafetensorsFile(InputFile file) : file_(std::move(file)) {}
  InputFile file_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, TensorInfo> tensors_;
  Metadata metadata_;
};

/// Every tensor of the file, in its order. Throws IoError.
std::vector<NamedTensor> read_safetensors(const std::filesystem::path& path);

}  // namespace ddpm::io
