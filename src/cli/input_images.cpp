#include "input_images.h"

#include "ddpm/base/error.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/checksum.h"
#include "ddpm/io/file.h"
#include "ddpm/io/image.h"

#include <fmt/format.h>

namespace ddpm::cli {
namespace {

torch::Tensor read_one(const std::string& file, int64_t channels, const nn::ImageSpec& spec,
                       const std::string& wanted) {
  const std::vector<uint8_t> bytes = io::read_file(file);
  const torch::Tensor image =
      io::to_tensor(io::decode_image(bytes, file, static_cast<int>(channels)));
  if (image.size(1) != spec.height || image.size(2) != spec.width)
    throw IoError(file, fmt::format("is {}x{}, and {} are {}x{} (height x width); resize it first",
                                    image.size(1), image.size(2), wanted, spec.height, spec.width));
  return image;
}

// Files of grey images may have three equal channels.
bool has_colours(const std::string& file) {
  const std::vector<uint8_t> bytes = io::read_file(file);
  if (io::image_info(bytes, file).channels < 3) return false;
  const torch::Tensor rgb = io::to_tensor(io::decode_image(bytes, file, 3));
  return !rgb[0].equal(rgb[1]) || !rgb[0].equal(rgb[2]);
}

}  // namespace

torch::Tensor read_inputs(const std::vector<std::string>& files, const nn::ImageSpec& spec,
                          const std::string& wanted) {
  std::vector<torch::Tensor> images;
  for (const std::string& file : files) {
    if (spec.channels == 1 && has_colours(file))
      throw IoError(file, fmt::format("has colours, and {} are grey; convert it first", wanted));
    images.push_back(read_one(file, spec.channels, spec, wanted));
  }
  return torch::stack(images);
}

torch::Tensor read_mask(const std::string& file, const nn::ImageSpec& spec) {
  const torch::Tensor mask = read_one(file, 1, spec, "the network's images").ge(128).unsqueeze(0);
  if (mask.all().item<bool>() || !mask.any().item<bool>())
    throw IoError(file,
                  "is a mask of one value; it must be light where pixels are to be filled in, "
                  "and dark elsewhere");
  return mask;
}

uint32_t checksum_of(const torch::Tensor& pixels) {
  const torch::Tensor bytes = pixels.to(torch::kByte).contiguous();
  return io::crc32c(
      io::bytes_of(std::span(bytes.data_ptr<uint8_t>(), static_cast<size_t>(bytes.numel()))));
}

}  // namespace ddpm::cli
