// The index of image files beside a run, behind the right checksum so that the rest is reached.
#include "ddpm/io/checksum.h"
#include "fuzz.h"
#include "src/data/catalogue.h"

#include <cstring>
#include <vector>

namespace ddpm::fuzz {

void run(Bytes bytes) {
  std::vector<uint8_t> file(bytes.begin(), bytes.end());
  const uint32_t sum = io::crc32c(file);
  file.resize(file.size() + sizeof sum);
  std::memcpy(file.data() + bytes.size(), &sum, sizeof sum);
  for (const Bytes read_as : {bytes, Bytes(file)})
    read([&] {
      if (const auto catalogue = data::catalogue_of(read_as)) data::to_bytes(*catalogue);
    });
}

}  // namespace ddpm::fuzz
