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

/// Writes tensors of any device, shape and strides in row-major order; the header keeps their
/// order. Data of wide types comes first, so that every tensor is aligned to its type. Copies one
/// tensor at a time, and only if it is not contiguous CPU memory. Throws IoError, also for a type
/// that the format lacks; c10::Error if a name occurs twice.
void write_safetensors(OutputFile& file, const std::vector<NamedTensor>& tensors,
                       const Metadata& metadata = {});
/// The same, replacing the file at `path` atomically (write_file_atomic).
FileSum write_safetensors(const std::filesystem::path& path,
                          const std::vector<NamedTensor>& tensors, const Metadata& metadata = {});

/// Type, shape and position of a tensor in a safetensors file.
struct TensorInfo {
  torch::ScalarType dtype = torch::kFloat32;
  std::vector<int64_t> shape;
  uint64_t offset = 0;  ///< of its first byte, from the beginning of the file
  uint64_t bytes = 0;
};

/// Whether the file begins like one. False if it cannot be read.
bool is_safetensors_file(const std::filesystem::path& path);

/// A safetensors file open for reading. The header is fully checked: open throws IoError, with the
/// tensor and the problem, unless the tensors tile the file exactly.
class SafetensorsFile {
 public:
  static SafetensorsFile open(const std::filesystem::path& path);

  /// In the header's order.
  const std::vector<std::string>& names() const { return names_; }
  bool contains(const std::string& name) const { return tensors_.contains(name); }
  /// Throws IoError if there is no such tensor.
  const TensorInfo& info(const std::string& name) const;
  /// Reads one tensor into new contiguous CPU memory; thread-safe. Throws IoError if there is no
  /// such tensor, if it cannot be read, or if a BOOL is neither 0 nor 1.
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
