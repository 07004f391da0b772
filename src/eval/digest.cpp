#include "ddpm/eval/digest.h"

#include "ddpm/base/progress.h"
#include "ddpm/eval/images.h"
#include "ddpm/io/file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

#include <fmt/format.h>

namespace ddpm::eval {
namespace {

constexpr std::array<uint32_t, 64> kRound{
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

uint32_t big_endian(const uint8_t* b) {
  return uint32_t{b[0]} << 24 | uint32_t{b[1]} << 16 | uint32_t{b[2]} << 8 | b[3];
}

}  // namespace

// FIPS 180-4, section 6.2.2.
void Digest::block(const uint8_t* bytes) {
  std::array<uint32_t, 64> w;
  for (size_t i = 0; i < 16; ++i) w[i] = big_endian(bytes + 4 * i);
  for (size_t i = 16; i < 64; ++i) {
    const uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ (a >> 3)) + w[i - 7] +
           (std::rotr(b, 17) ^ std::rotr(b, 19) ^ (b >> 10));
  }
  std::array<uint32_t, 8> s = state_;
  for (size_t i = 0; i < 64; ++i) {
    const uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
    const uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
    const uint32_t t1 = s[7] + (std::rotr(s[4], 6) ^ std::rotr(s[4], 11) ^ std::rotr(s[4], 25)) +
                        choice + kRound[i] + w[i];
    const uint32_t t2 = (std::rotr(s[0], 2) ^ std::rotr(s[0], 13) ^ std::rotr(s[0], 22)) + majority;
    std::rotate(s.begin(), s.end() - 1, s.end());
    s[4] += t1;
    s[0] = t1 + t2;
  }
  for (size_t i = 0; i < 8; ++i) state_[i] += s[i];
}

void Digest::add(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const size_t used = size_ % 64, take = std::min(bytes.size(), 64 - used);
    std::memcpy(rest_.data() + used, bytes.data(), take);
    size_ += take;
    bytes = bytes.subspan(take);
    if (size_ % 64 == 0) block(rest_.data());
  }
}

void Digest::add(std::string_view text) {
  add(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

std::string Digest::hex() {
  const uint64_t bits = size_ * 8;
  const std::array<uint8_t, 64> padding{0x80};
  add(std::span(padding).first(1 + (119 - size_ % 64) % 64));
  std::array<uint8_t, 8> length;
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<uint8_t>(bits >> (56 - 8 * i));
  add(length);
  std::string text;
  for (const uint32_t word : state_) text += fmt::format("{:08x}", word);
  return text;
}

std::string digest_of(std::string_view text) {
  Digest digest;
  digest.add(text);
  return digest.hex();
}

std::string digest_of_file(const std::filesystem::path& path) {
  const io::InputFile file(path);
  Digest digest;
  std::vector<uint8_t> piece(1 << 20);
  for (uint64_t at = 0; at < file.size(); at += piece.size()) {
    piece.resize(std::min<uint64_t>(piece.size(), file.size() - at));
    file.read_at(at, piece);
    digest.add(piece);
  }
  return digest.hex();
}

std::string digest_of_images(const data::Dataset& dataset) {
  const auto [channels, height, width] = dataset.shape();
  Digest digest;
  digest.add(fmt::format("{} images {}x{}x{}\n", dataset.size(), channels, height, width));
  std::vector<int64_t> all(dataset.size());
  std::iota(all.begin(), all.end(), int64_t{0});
  Progress progress("reading the reference", dataset.size());
  visit_examples(
      dataset, all, 256,
      [&](int64_t first, const torch::Tensor& images, const torch::Tensor& labels) {
        digest.add(std::span(images.const_data_ptr<uint8_t>(), images.numel()));
        digest.add(std::span(reinterpret_cast<const uint8_t*>(labels.const_data_ptr<int64_t>()),
                             labels.numel() * sizeof(int64_t)));
        progress.update(first + images.size(0));
      });
  return digest.hex();
}

}  // namespace ddpm::eval
