#include "ddpm/io/checksum.h"

#include "ddpm/io/bytes.h"
#include "ddpm/io/file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include <c10/util/Exception.h>
#include <fmt/ranges.h>
#include <openssl/evp.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace ddpm::io {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78u;  // 0x1EDC6F41 with its bits reversed

using Tables = std::array<std::array<uint32_t, 256>, 8>;

// tables[k][b]: the effect of byte b followed by k zero bytes, so that eight bytes take eight lookups.
constexpr Tables make_tables() {
  Tables tables{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? kPolynomial : 0);
    tables[0][b] = crc;
  }
  for (size_t k = 1; k < 8; ++k) {
    for (size_t b = 0; b < 256; ++b) {
      const uint32_t previous = tables[k - 1][b];
      tables[k][b] = (previous >> 8) ^ tables[0][previous & 0xFF];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t crc32c_by_instruction(std::span<const uint8_t> bytes,
                                                                 uint32_t crc) {
  const uint8_t* p = bytes.data();
  size_t left = bytes.size();
  uint64_t state = ~crc;
  for (; left >= 8; left -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    state = _mm_crc32_u64(state, word);
  }
  uint32_t tail = static_cast<uint32_t>(state);
  for (; left > 0; --left, ++p) tail = _mm_crc32_u8(tail, *p);
  return ~tail;
}
#endif

}  // namespace

uint32_t crc32c_by_table(std::span<const uint8_t> bytes, uint32_t crc) {
  const uint8_t* p = bytes.data();
  size_t left = bytes.size();
  crc = ~crc;
  for (; left >= 8; left -= 8, p += 8) {
    const uint64_t word = little_endian(std::span<const uint8_t, 8>(p, 8)) ^ crc;
    crc = 0;
    for (size_t k = 0; k < 8; ++k) crc ^= kTables[7 - k][(word >> (8 * k)) & 0xFF];
  }
  for (; left > 0; --left, ++p) crc = (crc >> 8) ^ kTables[0][(crc ^ *p) & 0xFF];
  return ~crc;
}

uint32_t crc32c(std::span<const uint8_t> bytes, uint32_t crc) {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2");
  if (has_instruction) return crc32c_by_instruction(bytes, crc);
#endif
  return crc32c_by_table(bytes, crc);
}

uint32_t crc32c(std::string_view text, uint32_t crc) { return crc32c(bytes_of(text), crc); }

void Sha256::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  TORCH_CHECK(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1,
              "libcrypto has no SHA-256");
}

Sha256::~Sha256() = default;

void Sha256::add(std::span<const uint8_t> bytes) {
  TORCH_CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1,
              "libcrypto failed");
}

void Sha256::add(std::string_view text) { add(bytes_of(text)); }

std::string Sha256::hex() {
  std::array<uint8_t, 32> sum{};
  TORCH_CHECK(EVP_DigestFinal_ex(context_.get(), sum.data(), nullptr) == 1, "libcrypto failed");
  return fmt::format("{:02x}", fmt::join(sum, ""));
}

std::string sha256(std::string_view text) {
  Sha256 sum;
  sum.add(text);
  return sum.hex();
}

std::string sha256_of_file(const std::filesystem::path& path) {
  const InputFile file(path);
  Sha256 sum;
  std::vector<uint8_t> piece(size_t{1} << 20);
  for (uint64_t at = 0; at < file.size(); at += piece.size()) {
    piece.resize(std::min<uint64_t>(piece.size(), file.size() - at));
    file.read_at(at, piece);
    sum.add(piece);
  }
  return sum.hex();
}

}  // namespace ddpm::io
