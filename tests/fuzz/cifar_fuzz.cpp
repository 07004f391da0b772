// A binary file of CIFAR-10 or CIFAR-100: the record at the front is repeated to a record's length.
#include "ddpm/data/dataset.h"
#include "fuzz.h"
#include "src/data/cifar.h"

#include <vector>

namespace ddpm::fuzz {

void run(Bytes bytes) {
  if (bytes.empty()) return;
  // Half of all inputs get a length that is a whole number of records.
  std::vector<uint8_t> file(bytes.begin() + 1, bytes.end());
  if (bytes[0] % 2 == 0) file.resize((file.size() / 3073 + 1) * (bytes[0] % 4 == 0 ? 3073 : 3074));
  const auto path = write_file("data_batch_1.bin", file);
  read([&] {
    const auto images = data::open_cifar(path, {});
    require(images->get(images->size() - 1).label < images->class_count());
  });
}

}  // namespace ddpm::fuzz
