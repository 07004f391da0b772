#include "uploads.h"

#include "ddpm/base/error.h"
#include "ddpm/io/image.h"
#include "ddpm/pipeline/inputs.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace ddpm::serve {
namespace {

bool begins_like_png_or_jpeg(const Png& bytes) {
  constexpr std::array<uint8_t, 4> kPngBegin{0x89, 'P', 'N', 'G'};
  constexpr std::array<uint8_t, 3> kJpegBegin{0xff, 0xd8, 0xff};
  const auto begins = [&](const auto& with) {
    return bytes.size() >= with.size() && std::equal(with.begin(), with.end(), bytes.begin());
  };
  return begins(kPngBegin) || begins(kJpegBegin);
}

void expect_whole(const Png& bytes, const std::string& key) {
  if (!begins_like_png_or_jpeg(bytes))
    throw UsageError(fmt::format("{}: is neither a PNG nor a JPEG", key));
  try {
    io::image_info(bytes, key);
  } catch (const IoError&) {
    throw UsageError(fmt::format("{}: is a damaged or truncated image; send all of it", key));
  }
}

// Of another kind of errors: the client's, not of a file here.
template <class Decode>
torch::Tensor decoded_upload(const Decode& decode) {
  try {
    return decode();
  } catch (const IoError& error) {
    throw UsageError(error.what());
  }
}

TaskInput input_file(const std::string& key, const torch::Tensor& pixels,
                     const torch::Tensor& shown) {
  return {fmt::format("{}-{:08x}.png", key, pipeline::checksum_of(pixels)), io::encode_png(shown)};
}

}  // namespace

Upload uploaded_picture(const Png& bytes, const std::string& key, const nn::ImageSpec& spec,
                        const std::string& wanted) {
  expect_whole(bytes, key);
  const torch::Tensor pixels =
      decoded_upload([&] { return pipeline::decode_input(bytes, key, spec, wanted); });
  return {pixels, input_file(key, pixels, pixels)};
}

Upload uploaded_mask(const Png& bytes, const std::string& key, const nn::ImageSpec& spec) {
  expect_whole(bytes, key);
  const torch::Tensor mask =
      decoded_upload([&] { return pipeline::decode_mask(bytes, key, spec); });
  return {mask, input_file(key, mask, mask[0].to(torch::kByte) * 255)};
}

}  // namespace ddpm::serve
