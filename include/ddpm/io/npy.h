#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <torch/types.h>

namespace ddpm::io {

/// What a .npy file says of its array (NumPy Enhancement Proposal 1; versions 1 to 3).
struct NpyHeader {
  char kind = 'u';        ///< u unsigned, i signed, f floating, b bool
  int64_t item_size = 1;  ///< bytes a value
  bool big_endian = false;
  bool fortran_order = false;
  std::vector<int64_t> sizes;  ///< of the axes, at most 8
  size_t data_offset = 0;      ///< bytes before the values

  /// "float32", "uint8", ...
  std::string type_name() const;
  /// Bytes of all values.
  uint64_t byte_count() const;
};

/// Reads the header from the first bytes of a file (64 KiB and 16 bytes hold any that is accepted).
/// `name` is the file's in errors. Throws IoError where it is none, is cut short, or tells of
/// records, objects, texts, complex or other numbers than of 1, 2, 4 or 8 bytes.
NpyHeader parse_npy_header(std::span<const uint8_t> bytes, const std::string& name);

/// The array of a file, in row-major order of axes, though maybe not contiguous. Types that tensors
/// lack are widened (uint16 -> int32, uint32 and uint64 -> int64). The file is mapped into memory
/// where its bytes can be used as they lie; it must then stay as it is, and writing to the tensor
/// changes a private copy. Throws IoError where it is missing, cut short or too long.
torch::Tensor read_npy(const std::filesystem::path& path);

/// The same from the bytes of a file, which the tensor keeps.
torch::Tensor parse_npy(std::vector<uint8_t> bytes, const std::string& name);

}  // namespace ddpm::io
