// An IDX file of images (MNIST's format), plain or packed by gzip.
#include "ddpm/data/dataset.h"
#include "fuzz.h"
#include "src/data/idx.h"

namespace ddpm::fuzz {

void run(Bytes bytes) {
  const auto path = write_file("train-images-idx3-ubyte", bytes);
  read([&] {
    const auto images = data::open_idx(path, {});
    if (images->size() > 0) images->get(images->size() - 1);
  });
}

}  // namespace ddpm::fuzz
