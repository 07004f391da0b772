#pragma once

#include "ddpm/io/safetensors.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <torch/types.h>

// The JSON header of a safetensors file, as it is read and written.

namespace ddpm::io {

inline constexpr uint64_t kLengthBytes = 8;
inline constexpr const char* kMetadataKey = "__metadata__";

struct Dtype {
  const char* name;
  torch::ScalarType type;
};
inline constexpr std::array<Dtype, 10> kDtypes = {{{"F64", torch::kFloat64},
                                                   {"F32", torch::kFloat32},
                                                   {"F16", torch::kFloat16},
                                                   {"BF16", torch::kBFloat16},
                                                   {"I64", torch::kInt64},
                                                   {"I32", torch::kInt32},
                                                   {"I16", torch::kInt16},
                                                   {"I8", torch::kInt8},
                                                   {"U8", torch::kUInt8},
                                                   {"BOOL", torch::kBool}}};

/// A string as JSON. Bytes that are not UTF-8 are escaped.
std::string json_quoted(const std::string& text);
/// A name from a file for an error message: on one line and at most 120 bytes.
std::string shown_name(const std::string& name);

/// One tensor of a header, not checked.
struct HeaderEntry {
  std::string name;
  std::optional<std::string> dtype;
  std::optional<std::vector<uint64_t>> shape;
  std::optional<std::vector<uint64_t>> offsets;
};
struct SafetensorsHeader {
  std::vector<HeaderEntry> entries;  ///< in order; all optional members are set
  Metadata metadata;
};

/// Reads the JSON that the format allows and no other. Returns the problem, or "".
std::string parse_header(const std::string& text, SafetensorsHeader& header);

}  // namespace ddpm::io
