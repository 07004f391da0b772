#include "png_16_bit.h"

#include "png_chunk.h"

#include <array>
#include <cstdlib>
#include <utility>

#include <torch/types.h>
#include <zlib.h>

namespace ddpm::io {
namespace {

constexpr std::array<uint8_t, 8> kSignatureOfPng = {0x89, 'P', 'N', 'G', 0x0D, 0x0A, 0x1A, 0x0A};
constexpr uint8_t kPaethFilter = 4;

// What the bytes at the left, above, and above the left one predict (section 9.4).
uint8_t paeth(int left, int above, int corner) {
  const int estimate = left + above - corner;
  const int to_left = std::abs(estimate - left), to_above = std::abs(estimate - above),
            to_corner = std::abs(estimate - corner);
  if (to_left <= to_above && to_left <= to_corner) return static_cast<uint8_t>(left);
  return static_cast<uint8_t>(to_above <= to_corner ? above : corner);
}

// The rows, high byte first, each behind its filter's number; what the filter predicts is taken off.
std::vector<uint8_t> filtered_rows(const torch::Tensor& pixels) {
  const auto height = static_cast<size_t>(pixels.size(0));
  const auto pixel = static_cast<size_t>(2 * pixels.size(2));  // bytes
  const size_t width = static_cast<size_t>(pixels.size(1)) * pixel;
  const int32_t* values = pixels.const_data_ptr<int32_t>();
  std::vector<uint8_t> rows, above(width), row(width);
  rows.reserve(height * (width + 1));
  for (size_t y = 0; y < height; ++y) {
    for (size_t i = 0; i < width; i += 2, ++values) {
      row[i] = static_cast<uint8_t>(*values >> 8);
      row[i + 1] = static_cast<uint8_t>(*values);
    }
    rows.push_back(kPaethFilter);
    for (size_t i = 0; i < width; ++i) {
      const bool first = i < pixel;
      const uint8_t predicted =
          paeth(first ? 0 : row[i - pixel], above[i], first ? 0 : above[i - pixel]);
      rows.push_back(static_cast<uint8_t>(row[i] - predicted));
    }
    std::swap(row, above);
  }
  return rows;
}

std::vector<uint8_t> deflated(const std::vector<uint8_t>& bytes) {
  std::vector<uint8_t> packed(::compressBound(bytes.size()));
  uLongf size = packed.size();
  const int result =
      ::compress2(packed.data(), &size, bytes.data(), bytes.size(), Z_DEFAULT_COMPRESSION);
  TORCH_CHECK(result == Z_OK, "zlib cannot pack ", bytes.size(), " bytes: ", result);
  packed.resize(size);
  return packed;
}

}  // namespace

std::vector<uint8_t> encode_png_16_bit(const torch::Tensor& pixels) {
  TORCH_CHECK(pixels.scalar_type() == torch::kInt && pixels.dim() == 3 && pixels.is_contiguous(),
              "expected contiguous int32 [H,W,C], got ", pixels.scalar_type(), " ", pixels.sizes());
  constexpr std::array<uint8_t, 4> kColourTypes = {0, 4, 2, 6};  // grey, with alpha, RGB, RGBA
  std::vector<uint8_t> header;
  append_big_endian_(header, static_cast<uint64_t>(pixels.size(1)), 4);
  append_big_endian_(header, static_cast<uint64_t>(pixels.size(0)), 4);
  header.insert(header.end(), {16, kColourTypes.at(pixels.size(2) - 1), 0, 0, 0});
  std::vector<uint8_t> png(kSignatureOfPng.begin(), kSignatureOfPng.end());
  append_png_chunk_(png, "IHDR", header);
  append_png_chunk_(png, "IDAT", deflated(filtered_rows(pixels)));
  append_png_chunk_(png, "IEND", {});
  return png;
}

}  // namespace ddpm::io
