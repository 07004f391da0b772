#pragma once

#include "ddpm/data/dataset.h"

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace ddpm::eval {

/// SHA-256 (FIPS 180-4) of bytes that come in pieces: what tells data sets and networks apart.
class Digest {
 public:
  void add(std::span<const uint8_t> bytes);
  void add(std::string_view text);
  /// 64 hexadecimal digits; nothing may be added after it.
  std::string hex();

 private:
  void block(const uint8_t* bytes);

  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<uint8_t, 64> rest_{};
  uint64_t size_ = 0;
};

/// Of a text; of a file's content (throws IoError).
std::string digest_of(std::string_view text);
std::string digest_of_file(const std::filesystem::path& path);

/// Of every decoded image and label in their order. Throws IoError where one cannot be read.
std::string digest_of_images(const data::Dataset& dataset);

}  // namespace ddpm::eval
