// An encoded image: the checks before stb_image, EXIF's orientation, the decoder, and a PNG's texts.
#include "ddpm/io/image.h"
#include "ddpm/io/png.h"
#include "fuzz.h"

namespace ddpm::fuzz {

void run(Bytes bytes) {
  read([&] { io::png_texts(bytes, "fuzz.png"); });
  for (const char* name : {"fuzz.png", "fuzz.tga"}) {
    read([&] { io::image_header(bytes.first(std::min<size_t>(bytes.size(), 64)), name); });
    read([&] {
      const io::ImageInfo info = io::image_info(bytes, name);
      if (info.height * info.width > 1 << 20) return;  // the fuzzer's time is better spent
      const io::Image image = io::decode_image(bytes, name);
      require(image.height == info.height && image.width == info.width);
      require(image.pixels.size() ==
              static_cast<size_t>(image.height * image.width * image.channels));
    });
  }
}

}  // namespace ddpm::fuzz
