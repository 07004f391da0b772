// The label file beside an IDX file of three 1x1 images.
#include "ddpm/data/dataset.h"
#include "fuzz.h"
#include "src/data/idx.h"

#include <array>

namespace ddpm::fuzz {

void run(Bytes bytes) {
  constexpr std::array<uint8_t, 19> kImages{0, 0, 8, 3, 0, 0, 0, 3, 0, 0,
                                            0, 1, 0, 0, 0, 1, 7, 8, 9};
  const auto path = write_file("train-images-idx3-ubyte", kImages);
  write_file("train-labels-idx1-ubyte", bytes);
  read([&] {
    const auto images = data::open_idx(path, {});
    require(images->get(2).label < images->class_count());
  });
}

}  // namespace ddpm::fuzz
