#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::io {

/// Header of a .npy file (NumPy Enhancement Proposal 1; versions 1 to 3).
struct NpyHeader {
  char kind = 'u';        ///< u unsigned, i signed, f floating, b bool
  int64_t item_size = 1;  ///< bytes per value
  bool big_endian = false;
  bool fortran_order = false;
  std::vector<int64_t> sizes;  ///< of the axes, at most 8
  size_t data_offset = 0;      ///< bytes before the values

  /// "float32", "uint8", ...
  std::string type_name() const;
  /// Bytes of all values.
  uint64_t byte_count() const;
};

/// Reads the header from the first bytes of a file; 64 KiB and 16 bytes are always enough. `name`
/// is the file's name in errors. Throws IoError if it is not a .npy header, is truncated, or has a
/// type other than bool or real numbers of 1, 2, 4 or 8 bytes.
NpyHeader parse_npy_header(std::span<const uint8_t> bytes, const std::string& name);

/// The array of a file, with its axes in order, but maybe not contiguous. Types that tensors lack
/// are widened (uint16 -> int32, uint32 and uint64 -> int64). The file is mapped into memory if its
/// bytes can be used directly; it must then not change, and writes to the tensor go to a private
/// copy. Throws IoError if it is missing, truncated or too long.
torch::Tensor read_npy(const std::filesystem::path& path);

/// The same from the bytes of a file, which the tensor keeps alive.
torch::Tensor parse_npy(std::vector<uint8_t> bytes, const std::string& name);

/// The bytes of a .npy file (version 1). values: uint8, uint16 or float32 of any shape.
std::vector<uint8_t> encode_npy(const torch::Tensor& values);

}  // namespace ddpm::io
