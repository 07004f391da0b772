#include "ddpm/io/bytes.h"
#include "ddpm/io/image.h"
#include "ddpm/io/png.h"
#include "png_chunk.h"

#include <cmath>
#include <span>
#include <string_view>

#include <torch/types.h>

namespace ddpm::io {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr size_t kSignature = 8;  // bytes

void append(Bytes& out, std::span<const uint8_t> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

// The zlib stream of a PNG's pixels: the data of its IDAT chunks.
Bytes pixels_of(std::span<const uint8_t> png) {
  Bytes pixels;
  for (size_t at = kSignature; at + 12 <= png.size();) {
    const auto size = static_cast<size_t>(big_endian(png.subspan(at).first<4>()));
    if (text_of(png.subspan(at + 4, 4)) == "IDAT") append(pixels, png.subspan(at + 8, size));
    at += 12 + size;
  }
  return pixels;
}

/// Writes the chunks of frames, whose sequence numbers count from 0 (section 11.3.6.2).
class FrameChunks {
 public:
  FrameChunks(Bytes& out, int64_t width, int64_t height)
      : out_(out), width_(width), height_(height) {}

  /// fcTL: a frame of the whole size, which replaces the former one.
  void control(double seconds) {
    TORCH_CHECK(seconds >= 0 && seconds <= 65, "a frame is shown for 0 to 65 seconds, not ",
                seconds);
    Bytes data;
    append_big_endian_(data, number_++, 4);
    append_big_endian_(data, width_, 4);
    append_big_endian_(data, height_, 4);
    append_big_endian_(data, 0, 4 + 4);  // offset x, y
    append_big_endian_(data, static_cast<uint64_t>(std::llround(1000 * seconds)), 2);
    append_big_endian_(data, 1000, 2);
    append_big_endian_(data, 0, 1 + 1);  // APNG_DISPOSE_OP_NONE, APNG_BLEND_OP_SOURCE
    append_png_chunk_(out_, "fcTL", data);
  }
  /// fdAT.
  void pixels(std::span<const uint8_t> stream) {
    Bytes data;
    append_big_endian_(data, number_++, 4);
    append(data, stream);
    append_png_chunk_(out_, "fdAT", data);
  }

 private:
  Bytes& out_;
  int64_t width_, height_;
  uint64_t number_ = 0;
};

}  // namespace

std::vector<uint8_t> encode_apng(const torch::Tensor& frames, const std::vector<double>& seconds,
                                 const torch::Tensor& still) {
  TORCH_CHECK(frames.dim() == 4 && frames.size(0) > 0, "expected frames [N,C,H,W], got ",
              frames.sizes());
  TORCH_CHECK(std::ssize(seconds) == frames.size(0), "each frame needs its seconds");
  TORCH_CHECK(!still.defined() || still.sizes() == frames[0].sizes(), "a still image of ",
              still.sizes(), " does not go with frames of ", frames[0].sizes());
  // 1. The image that every program shows.
  const Bytes first = encode_png(still.defined() ? still : frames[0]);
  Bytes out(first.begin(), first.begin() + kPngBeginning);
  Bytes animation;
  append_big_endian_(animation, frames.size(0), 4);
  append_big_endian_(animation, 0, 4);  // plays: without end
  append_png_chunk_(out, "acTL", animation);
  FrameChunks chunks(out, frames.size(3), frames.size(2));
  if (!still.defined()) chunks.control(seconds[0]);
  append_png_chunk_(out, "IDAT", pixels_of(first));
  // 2. The frames behind it.
  for (int64_t i = still.defined() ? 0 : 1; i < frames.size(0); ++i) {
    chunks.control(seconds[static_cast<size_t>(i)]);
    chunks.pixels(pixels_of(encode_png(frames[i])));
  }
  append_png_chunk_(out, "IEND", {});
  return out;
}

}  // namespace ddpm::io
