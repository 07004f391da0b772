// Draws images from a trained network: sample_images RUN FOLDER
#include <iostream>

#include <ddpm/base/device.h>
#include <ddpm/base/error.h>
#include <ddpm/diffusion/image_range.h>
#include <ddpm/io/image.h>
#include <ddpm/pipeline/pipeline.h>

int main(int argc, char** argv) try {
  if (argc != 3) throw ddpm::UsageError("usage: sample_images RUN FOLDER");
  const ddpm::pipeline::Pipeline pipeline(argv[1], {.device = ddpm::parse_device("auto")});
  const auto settings = pipeline.settings({"method=ddim", "steps=5"});
  const torch::Tensor samples = pipeline.sample({.num = 4, .seed = 1}, settings);
  const torch::Tensor pixels = ddpm::diffusion::to_uint8(samples);
  for (int64_t i = 0; i < pixels.size(0); ++i)
    ddpm::io::write_png(argv[2] + ("/" + std::to_string(i)) + ".png", pixels[i]);
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
