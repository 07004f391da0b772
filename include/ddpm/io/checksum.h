#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace ddpm::io {

/// CRC32C (Castagnoli; RFC 3720, section 12.1) of `bytes`, continued from `crc`, so that
/// crc32c(ab) == crc32c(b, crc32c(a)). Uses the CPU's instruction if it has one.
uint32_t crc32c(std::span<const uint8_t> bytes, uint32_t crc = 0);

uint32_t crc32c(std::string_view text, uint32_t crc = 0);

/// The same by tables: the fallback of crc32c.
uint32_t crc32c_by_table(std::span<const uint8_t> bytes, uint32_t crc = 0);

/// SHA-256 (FIPS 180-4) of bytes that come in pieces, by libcrypto.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void add(std::span<const uint8_t> bytes);
  void add(std::string_view text);
  /// 64 hexadecimal digits; nothing may be added afterwards.
  std::string hex();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

/// SHA-256 in 64 hexadecimal digits.
std::string sha256(std::string_view text);
/// Of a file's content. Throws IoError.
std::string sha256_of_file(const std::filesystem::path& path);

}  // namespace ddpm::io
