#include "ddpm/sample/picture_folder.h"

namespace ddpm::sample {

void PictureWriter::write(std::vector<int64_t> images, const torch::Tensor& pixels,
                          std::vector<std::vector<io::PngText>> texts) {
  wait();
  texts.resize(images.size());
  under_way_ = std::async(std::launch::async,
                          [this, images = std::move(images), pixels, texts = std::move(texts)] {
                            for (size_t i = 0; i < images.size(); ++i)
                              folder_.write(images[i], pixels[static_cast<int64_t>(i)], texts[i]);
                          });
}

void PictureWriter::wait() {
  if (under_way_.valid()) under_way_.get();
}

}  // namespace ddpm::sample
