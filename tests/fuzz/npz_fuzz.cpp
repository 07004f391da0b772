// A zip archive of arrays, as a data set.
#include "ddpm/data/dataset.h"
#include "fuzz.h"
#include "src/data/numpy_images.h"

namespace ddpm::fuzz {

void run(Bytes bytes) {
  const auto path = write_file("fuzz.npz", bytes);
  read([&] {
    const auto images = data::open_npz(path, {}, {});
    if (images->size() > 0) images->get(0);
  });
}

}  // namespace ddpm::fuzz
