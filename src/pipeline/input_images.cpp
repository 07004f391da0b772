#include "ddpm/base/error.h"
#include "ddpm/io/bytes.h"
#include "ddpm/io/checksum.h"
#include "ddpm/io/file.h"
#include "ddpm/io/image.h"
#include "ddpm/pipeline/inputs.h"

#include <fmt/format.h>

namespace ddpm::pipeline {
namespace {

// Of the right size, with these channels.
torch::Tensor decode_sized(std::span<const uint8_t> bytes, const std::string& name,
                           int64_t channels, const nn::ImageSpec& spec, const std::string& wanted) {
  if (channels > io::kMaxImageChannels)
    throw IoError(name, fmt::format("is an image file, which has 1 to 4 channels, and {} have {}",
                                    wanted, channels));
  const io::ImageInfo info = io::image_info(bytes, name);
  if (info.height != spec.height || info.width != spec.width)
    throw IoError(name, fmt::format("is {}x{}, and {} are {}x{} (height x width); resize it first",
                                    info.height, info.width, wanted, spec.height, spec.width));
  return io::to_tensor(io::decode_image(bytes, name, static_cast<int>(channels)));
}

// Files of grey images may have three equal channels.
bool has_colours(const torch::Tensor& rgb) {
  return !rgb[0].equal(rgb[1]) || !rgb[0].equal(rgb[2]);
}

}  // namespace

torch::Tensor decode_input(std::span<const uint8_t> bytes, const std::string& name,
                           const nn::ImageSpec& spec, const std::string& wanted) {
  if (spec.channels == 1 && has_colours(decode_sized(bytes, name, 3, spec, wanted)))
    throw IoError(name, fmt::format("has colours, and {} are grey; convert it first", wanted));
  return decode_sized(bytes, name, spec.channels, spec, wanted);
}

torch::Tensor read_inputs(const std::vector<std::string>& files, const nn::ImageSpec& spec,
                          const std::string& wanted) {
  std::vector<torch::Tensor> images;
  for (const std::string& file : files)
    images.push_back(decode_input(io::read_file(file), file, spec, wanted));
  return torch::stack(images);
}

torch::Tensor decode_mask(std::span<const uint8_t> bytes, const std::string& name,
                          const nn::ImageSpec& spec) {
  const torch::Tensor mask =
      decode_sized(bytes, name, 1, spec, "the network's images").ge(128).unsqueeze(0);
  if (mask.all().item<bool>() || !mask.any().item<bool>())
    throw IoError(name,
                  "is a mask of one value; it must be light where pixels are to be filled in, "
                  "and dark elsewhere");
  return mask;
}

torch::Tensor read_mask(const std::string& file, const nn::ImageSpec& spec) {
  return decode_mask(io::read_file(file), file, spec);
}

uint32_t checksum_of(const torch::Tensor& pixels) {
  const torch::Tensor bytes = pixels.to(torch::kByte).contiguous();
  return io::crc32c(
      io::bytes_of(std::span(bytes.data_ptr<uint8_t>(), static_cast<size_t>(bytes.numel()))));
}

}  // namespace ddpm::pipeline
