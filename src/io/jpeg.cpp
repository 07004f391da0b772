#include "jpeg.h"

#include "ddpm/base/error.h"

#include <csetjmp>
#include <cstdio>

#include <fmt/format.h>
// libjpeg's headers need the two above, and its constants of messages are a header of their own.
#include <jpeglib.h>
//
#include <jerror.h>

namespace ddpm::io {
namespace {

// libjpeg returns from an error by longjmp, which runs no destructors: all state is kept here,
// outside of the functions that are left.
struct Decoder {
  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  std::jmp_buf back;
  char problem[JMSG_LENGTH_MAX] = "";
  Image image;

  Decoder() {
    jpeg.err = jpeg_std_error(&errors);
    errors.error_exit = fail;
    errors.emit_message = note;
    jpeg.client_data = this;
  }
  ~Decoder() { jpeg_destroy_decompress(&jpeg); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  static Decoder& of(j_common_ptr jpeg) { return *static_cast<Decoder*>(jpeg->client_data); }

  static void fail(j_common_ptr jpeg) {
    jpeg->err->format_message(jpeg, of(jpeg).problem);
    std::longjmp(of(jpeg).back, 1);
  }

  // Warnings (level -1) that mean lost pixels. Other warnings are harmless, such as extra bytes
  // before a marker.
  static void note(j_common_ptr jpeg, int level) {
    if (level >= 0) return;
    switch (jpeg->err->msg_code) {
      case JWRN_HIT_MARKER:
      case JWRN_JPEG_EOF:
      case JWRN_HUFF_BAD_CODE:
      case JWRN_ARITH_BAD_CODE:
      case JWRN_MUST_RESYNC:
        fail(jpeg);
        break;
      default:
        break;
    }
  }
};

bool is_cmyk(const jpeg_decompress_struct& jpeg) {
  return jpeg.jpeg_color_space == JCS_CMYK || jpeg.jpeg_color_space == JCS_YCCK;
}

// Adobe's programs store CMYK inverted, and mark it. RGB = (1 - CMY) (1 - K).
void cmyk_to_rgb(const uint8_t* cmyk, uint8_t* rgb, int64_t width, bool inverted) {
  for (int64_t x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
    for (int c = 0; c < 3; ++c) {
      const int light = inverted ? cmyk[c] : 255 - cmyk[c],
                key = inverted ? cmyk[3] : 255 - cmyk[3];
      rgb[c] = static_cast<uint8_t>((light * key + 127) / 255);
    }
  }
}

// False if libjpeg failed; `decoder.problem` is the reason.
bool read_header(Decoder& decoder, std::span<const uint8_t> bytes) {
  if (setjmp(decoder.back) != 0) return false;
  jpeg_create_decompress(&decoder.jpeg);
  jpeg_mem_src(&decoder.jpeg, bytes.data(), bytes.size());
  jpeg_read_header(&decoder.jpeg, TRUE);
  return true;
}

// `row` is a buffer for a row of CMYK, if the file holds CMYK.
bool read_pixels(Decoder& decoder, uint8_t* row) {
  jpeg_decompress_struct& jpeg = decoder.jpeg;
  if (setjmp(decoder.back) != 0) return false;
  const bool cmyk = is_cmyk(jpeg);
  jpeg.out_color_space = cmyk ? JCS_CMYK : decoder.image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_start_decompress(&jpeg);
  while (jpeg.output_scanline < jpeg.output_height) {
    uint8_t* to = decoder.image.pixels.data() + decoder.image.channels * decoder.image.width *
                                                    static_cast<int64_t>(jpeg.output_scanline);
    JSAMPROW target = cmyk ? row : to;
    jpeg_read_scanlines(&jpeg, &target, 1);
    if (cmyk) cmyk_to_rgb(row, to, decoder.image.width, jpeg.saw_Adobe_marker);
  }
  jpeg_finish_decompress(&jpeg);
  return true;
}

ImageInfo info_of(const jpeg_decompress_struct& jpeg) {
  return {jpeg.image_height, jpeg.image_width, jpeg.num_components == 1 ? 1 : 3};
}

}  // namespace

std::optional<ImageInfo> jpeg_header(std::span<const uint8_t> beginning) {
  Decoder decoder;
  if (!read_header(decoder, beginning)) return std::nullopt;
  return info_of(decoder.jpeg);
}

Image decode_jpeg(std::span<const uint8_t> bytes, const std::string& name) {
  const auto fail = [&](const char* problem) {
    throw IoError(name, fmt::format("is not a readable JPEG: its data are damaged or end too early "
                                    "(libjpeg says: {}); remove the file or restore it",
                                    problem));
  };
  Decoder decoder;
  if (!read_header(decoder, bytes)) fail(decoder.problem);
  const ImageInfo info = info_of(decoder.jpeg);
  decoder.image = {info.height, info.width, info.channels, {}};
  decoder.image.pixels.resize(info.height * info.width * info.channels);
  std::vector<uint8_t> row(is_cmyk(decoder.jpeg) ? 4 * info.width : 0);
  if (!read_pixels(decoder, row.data())) fail(decoder.problem);
  return std::move(decoder.image);
}

}  // namespace ddpm::io
